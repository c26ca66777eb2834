#include "server/interop_server/benchmark_service.h"

#include "server/interop_server/payload.h"

namespace warren::interop {

grpc::result<::grpc::testing::SimpleResponse> benchmark_service::UnaryCall(context&, const SimpleRequest& request) {
  SimpleResponse reply;
  if (grpc::status s = fill(*reply.mutable_payload(), request.response_size()); !s.ok()) return s;
  return reply;
}

grpc::status benchmark_service::StreamingCall(context&, grpc::stream<SimpleRequest, SimpleResponse>& io) {
  SimpleRequest request;
  SimpleResponse reply;
  while (io.read(request)) {
    if (grpc::status s = fill(*reply.mutable_payload(), request.response_size()); !s.ok()) return s;
    if (!io.write(reply)) break;
  }
  return {};
}

grpc::result<::grpc::testing::SimpleResponse> benchmark_service::StreamingFromClient(context&, grpc::reader<SimpleRequest>& in) {
  int32_t size = 0;
  for (const SimpleRequest& request : in) size = request.response_size();
  SimpleResponse reply;
  if (grpc::status s = fill(*reply.mutable_payload(), size); !s.ok()) return s;
  return reply;
}

grpc::status benchmark_service::StreamingFromServer(context&, const SimpleRequest& request, grpc::writer<SimpleResponse>& out) {
  SimpleResponse reply;
  if (grpc::status s = fill(*reply.mutable_payload(), request.response_size()); !s.ok()) return s;
  while (out.write(reply)) {
  }
  return {};
}

grpc::status benchmark_service::StreamingBothWays(context& ctx, grpc::stream<SimpleRequest, SimpleResponse>& io) {
  return StreamingCall(ctx, io);  // the caller decides how far the two directions run apart
}

}  // namespace warren::interop

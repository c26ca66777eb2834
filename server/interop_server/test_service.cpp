#include "server/interop_server/test_service.h"

#include <chrono>
#include <string_view>
#include <vector>

#include <warren/chan.h>
#include <warren/go.h>

#include "server/interop_server/payload.h"

namespace warren::interop {

namespace {

constexpr std::string_view kEchoInitial = "x-grpc-test-echo-initial";
constexpr std::string_view kEchoTrailing = "x-grpc-test-echo-trailing-bin";

// The case custom_metadata: what came under these keys goes back.
void echo_metadata(grpc::server_context& ctx) {
  for (const auto v : ctx.metadata().find_all(kEchoInitial)) ctx.add_initial_metadata(kEchoInitial, v);
  for (const auto v : ctx.metadata().find_all(kEchoTrailing)) ctx.add_trailing_metadata(kEchoTrailing, v);
}

grpc::status asked_status(const ::grpc::testing::EchoStatus& s) { return {static_cast<grpc::status_code>(s.code()), s.message()}; }

// A client that compresses asks us to check that it does.
template <class Request>
bool came_as_promised(const grpc::server_context& ctx, const Request& request) {
  return !request.has_expect_compressed() || !request.expect_compressed().value() || ctx.request_compressed();
}
grpc::status not_as_promised() { return grpc::invalid_argument("the request was to come compressed, and came uncompressed"); }

// One reply for each of the request's parameters. Not OK: the call ends with that.
grpc::status answer(grpc::server_context& ctx, const ::grpc::testing::StreamingOutputCallRequest& request,
                    grpc::writer<::grpc::testing::StreamingOutputCallResponse>& out) {
  for (const auto& want : request.response_parameters()) {
    if (want.interval_us() > 0) sleep(std::chrono::microseconds(want.interval_us()));
    ::grpc::testing::StreamingOutputCallResponse reply;
    if (grpc::status s = fill(*reply.mutable_payload(), want.size()); !s.ok()) return s;
    if (!out.write(reply, {.compress = want.compressed().value()})) return grpc::cancelled("the caller has gone");
    if (ctx.cancelled()) return grpc::cancelled("the caller has gone");
  }
  return {};
}

bool any_compressed(const ::grpc::testing::StreamingOutputCallRequest& request) {
  for (const auto& want : request.response_parameters()) {
    if (want.compressed().value()) return true;
  }
  return false;
}

}  // namespace

grpc::result<::grpc::testing::Empty> test_service::EmptyCall(context& ctx, const ::grpc::testing::Empty&) {
  echo_metadata(ctx);
  return ::grpc::testing::Empty();
}

grpc::result<::grpc::testing::SimpleResponse> test_service::UnaryCall(context& ctx, const SimpleRequest& request) {
  echo_metadata(ctx);
  if (!came_as_promised(ctx, request)) return not_as_promised();
  if (request.response_status().code() != 0) return asked_status(request.response_status());
  if (request.response_compressed().value()) ctx.compress(grpc::encoding::gzip);
  SimpleResponse reply;
  if (grpc::status s = fill(*reply.mutable_payload(), request.response_size()); !s.ok()) return s;
  return reply;
}

grpc::result<::grpc::testing::SimpleResponse> test_service::CacheableUnaryCall(context& ctx, const SimpleRequest& request) {
  ctx.add_initial_metadata("cache-control", "max-age=60, public");
  return UnaryCall(ctx, request);
}

grpc::status test_service::StreamingOutputCall(context& ctx, const OutputRequest& request, grpc::writer<OutputResponse>& out) {
  echo_metadata(ctx);
  if (any_compressed(request)) ctx.compress(grpc::encoding::gzip);
  if (grpc::status s = answer(ctx, request, out); !s.ok()) return s;
  return request.response_status().code() != 0 ? asked_status(request.response_status()) : grpc::status();
}

grpc::result<::grpc::testing::StreamingInputCallResponse> test_service::StreamingInputCall(context& ctx, grpc::reader<InputRequest>& in) {
  echo_metadata(ctx);
  InputResponse sum;
  for (const InputRequest& request : in) {
    if (!came_as_promised(ctx, request)) return not_as_promised();
    sum.set_aggregated_payload_size(sum.aggregated_payload_size() + static_cast<int32_t>(request.payload().body().size()));
  }
  return sum;
}

grpc::status test_service::FullDuplexCall(context& ctx, grpc::stream<OutputRequest, OutputResponse>& io) {
  echo_metadata(ctx);
  ctx.compress(grpc::encoding::gzip);  // which replies are compressed is known only when their requests come
  for (const OutputRequest& request : static_cast<grpc::reader<OutputRequest>&>(io)) {
    if (request.response_status().code() != 0) return asked_status(request.response_status());
    if (grpc::status s = answer(ctx, request, io); !s.ok()) return s;
  }
  return {};
}

grpc::status test_service::HalfDuplexCall(context& ctx, grpc::stream<OutputRequest, OutputResponse>& io) {
  echo_metadata(ctx);
  std::vector<OutputRequest> requests;
  size_t kept = 0;
  for (const OutputRequest& request : static_cast<grpc::reader<OutputRequest>&>(io)) {
    kept += request.ByteSizeLong();
    if (kept > static_cast<size_t>(kMostPayload)) return grpc::resource_exhausted("the requests together are too large to be kept");
    requests.push_back(request);
  }
  for (const OutputRequest& request : requests) {
    if (grpc::status s = answer(ctx, request, io); !s.ok()) return s;
  }
  return {};
}

}  // namespace warren::interop

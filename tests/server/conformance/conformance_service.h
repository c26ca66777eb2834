// connectrpc.conformance.v1.ConformanceService.
#pragma once
#include <connectrpc/conformance/v1/service.warren.h>

namespace warren::conformance {

namespace v1 = ::connectrpc::conformance::v1;

class conformance_service final : public v1::ConformanceServiceService {
  using context = grpc::server_context;

 public:
  grpc::result<v1::UnaryResponse> Unary(context& ctx, const v1::UnaryRequest& request) override;
  grpc::result<v1::IdempotentUnaryResponse> IdempotentUnary(context& ctx, const v1::IdempotentUnaryRequest& request) override;
  grpc::status ServerStream(context& ctx, const v1::ServerStreamRequest& request, grpc::writer<v1::ServerStreamResponse>& out) override;
  grpc::result<v1::ClientStreamResponse> ClientStream(context& ctx, grpc::reader<v1::ClientStreamRequest>& in) override;
  grpc::status BidiStream(context& ctx, grpc::stream<v1::BidiStreamRequest, v1::BidiStreamResponse>& io) override;
};

}  // namespace warren::conformance

// grpc.testing.BenchmarkService, which gRPC's own load generators drive.
#pragma once
#include <grpc/testing/test.warren.h>

namespace warren::interop {

class benchmark_service final : public ::grpc::testing::BenchmarkServiceService {
  using context = warren::grpc::server_context;
  using SimpleRequest = ::grpc::testing::SimpleRequest;
  using SimpleResponse = ::grpc::testing::SimpleResponse;

 public:
  grpc::result<SimpleResponse> UnaryCall(context& ctx, const SimpleRequest& request) override;
  grpc::status StreamingCall(context& ctx, grpc::stream<SimpleRequest, SimpleResponse>& io) override;
  grpc::result<SimpleResponse> StreamingFromClient(context& ctx, grpc::reader<SimpleRequest>& in) override;
  grpc::status StreamingFromServer(context& ctx, const SimpleRequest& request, grpc::writer<SimpleResponse>& out) override;
  grpc::status StreamingBothWays(context& ctx, grpc::stream<SimpleRequest, SimpleResponse>& io) override;
};

}  // namespace warren::interop

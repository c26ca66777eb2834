// grpc.testing.TestService, after gRPC's public interop-test-descriptions.
#pragma once
#include <grpc/testing/test.warren.h>

namespace warren::interop {

class test_service final : public ::grpc::testing::TestServiceService {
  using context = warren::grpc::server_context;
  using SimpleRequest = ::grpc::testing::SimpleRequest;
  using SimpleResponse = ::grpc::testing::SimpleResponse;
  using OutputRequest = ::grpc::testing::StreamingOutputCallRequest;
  using OutputResponse = ::grpc::testing::StreamingOutputCallResponse;
  using InputRequest = ::grpc::testing::StreamingInputCallRequest;
  using InputResponse = ::grpc::testing::StreamingInputCallResponse;

 public:
  grpc::result<::grpc::testing::Empty> EmptyCall(context& ctx, const ::grpc::testing::Empty& request) override;
  grpc::result<SimpleResponse> UnaryCall(context& ctx, const SimpleRequest& request) override;
  grpc::result<SimpleResponse> CacheableUnaryCall(context& ctx, const SimpleRequest& request) override;
  grpc::status StreamingOutputCall(context& ctx, const OutputRequest& request, grpc::writer<OutputResponse>& out) override;
  grpc::result<InputResponse> StreamingInputCall(context& ctx, grpc::reader<InputRequest>& in) override;
  grpc::status FullDuplexCall(context& ctx, grpc::stream<OutputRequest, OutputResponse>& io) override;
  grpc::status HalfDuplexCall(context& ctx, grpc::stream<OutputRequest, OutputResponse>& io) override;
};

}  // namespace warren::interop

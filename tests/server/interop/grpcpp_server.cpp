// grpcpp_server ROOT_OUT
//
// grpc.testing.TestService and BenchmarkService on gRPC C++'s own server, for warren's client to call: on a plain port and on one with TLS,
// whose self-signed certificate (for "interop.test") it writes to the file ROOT_OUT. Prints "plain PORT" and "tls PORT", and serves until
// its standard input ends.
#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "grpc/testing/test.grpc.pb.h"
#include "tests/netpoll/certificate.h"

// The library exports it, its headers do not declare it: whether the request came compressed.
uint32_t grpc_call_test_only_get_message_flags(grpc_call* call);
constexpr uint32_t kWasCompressed = 0x40000000U;  // GRPC_WRITE_INTERNAL_TEST_ONLY_WAS_COMPRESSED

namespace grpc::testing {
// A friend of ServerContext.
class InteropServerContextInspector {
 public:
  explicit InteropServerContextInspector(const ServerContext& context) : context_(context) {}
  bool came_compressed() const { return (grpc_call_test_only_get_message_flags(context_.call_.call) & kWasCompressed) != 0; }

 private:
  const ServerContext& context_;
};
}  // namespace grpc::testing

namespace {

using namespace grpc::testing;
using grpc::ServerContext;
using grpc::Status;
using grpc::StatusCode;

void echo_metadata(ServerContext* ctx) {
  for (const auto& [key, value] : ctx->client_metadata()) {
    const std::string k(key.data(), key.size()), v(value.data(), value.size());
    if (k == "x-grpc-test-echo-initial") ctx->AddInitialMetadata(k, v);
    if (k == "x-grpc-test-echo-trailing-bin") ctx->AddTrailingMetadata(k, v);
  }
}

template <class Request>
bool as_promised(const ServerContext& ctx, const Request& request) {
  return !request.has_expect_compressed() || request.expect_compressed().value() == InteropServerContextInspector(ctx).came_compressed();
}

void fill(Payload* p, int32_t size) { p->mutable_body()->assign(static_cast<size_t>(size), '\0'); }

template <class Out>
Status answer(const StreamingOutputCallRequest& request, Out* out) {
  for (const auto& want : request.response_parameters()) {
    StreamingOutputCallResponse reply;
    fill(reply.mutable_payload(), want.size());
    grpc::WriteOptions how;
    if (!want.compressed().value()) how.set_no_compression();
    if (!out->Write(reply, how)) return {StatusCode::CANCELLED, "gone"};
  }
  return Status::OK;
}

class test_service final : public TestService::Service {
  Status EmptyCall(ServerContext* ctx, const Empty*, Empty*) override {
    echo_metadata(ctx);
    return Status::OK;
  }
  Status UnaryCall(ServerContext* ctx, const SimpleRequest* request, SimpleResponse* reply) override {
    echo_metadata(ctx);
    if (!as_promised(*ctx, *request)) return {StatusCode::INVALID_ARGUMENT, "not compressed as promised"};
    if (request->response_status().code() != 0) {
      return {static_cast<StatusCode>(request->response_status().code()), request->response_status().message()};
    }
    ctx->set_compression_algorithm(request->response_compressed().value() ? GRPC_COMPRESS_GZIP : GRPC_COMPRESS_NONE);
    fill(reply->mutable_payload(), request->response_size());
    return Status::OK;
  }
  Status StreamingOutputCall(ServerContext* ctx, const StreamingOutputCallRequest* request,
                             grpc::ServerWriter<StreamingOutputCallResponse>* out) override {
    ctx->set_compression_algorithm(GRPC_COMPRESS_GZIP);
    return answer(*request, out);
  }
  Status StreamingInputCall(ServerContext* ctx, grpc::ServerReader<StreamingInputCallRequest>* in,
                            StreamingInputCallResponse* reply) override {
    StreamingInputCallRequest request;
    while (in->Read(&request)) {
      if (!as_promised(*ctx, request)) return {StatusCode::INVALID_ARGUMENT, "not compressed as promised"};
      reply->set_aggregated_payload_size(reply->aggregated_payload_size() + static_cast<int32_t>(request.payload().body().size()));
    }
    return Status::OK;
  }
  Status FullDuplexCall(ServerContext* ctx,
                        grpc::ServerReaderWriter<StreamingOutputCallResponse, StreamingOutputCallRequest>* io) override {
    echo_metadata(ctx);
    StreamingOutputCallRequest request;
    while (io->Read(&request)) {
      if (request.response_status().code() != 0) {
        return {static_cast<StatusCode>(request.response_status().code()), request.response_status().message()};
      }
      if (Status s = answer(request, io); !s.ok()) return s;
    }
    return Status::OK;
  }
  Status HalfDuplexCall(ServerContext*, grpc::ServerReaderWriter<StreamingOutputCallResponse, StreamingOutputCallRequest>* io) override {
    std::vector<StreamingOutputCallRequest> requests;
    StreamingOutputCallRequest request;
    while (io->Read(&request)) requests.push_back(request);
    for (const auto& r : requests) {
      if (Status s = answer(r, io); !s.ok()) return s;
    }
    return Status::OK;
  }
};

class benchmark_service final : public BenchmarkService::Service {
  using both_ways = grpc::ServerReaderWriter<SimpleResponse, SimpleRequest>;
  Status UnaryCall(ServerContext*, const SimpleRequest* request, SimpleResponse* reply) override {
    fill(reply->mutable_payload(), request->response_size());
    return Status::OK;
  }
  Status StreamingCall(ServerContext*, both_ways* io) override {
    SimpleRequest request;
    SimpleResponse reply;
    while (io->Read(&request)) {
      fill(reply.mutable_payload(), request.response_size());
      if (!io->Write(reply)) break;
    }
    return Status::OK;
  }
  Status StreamingFromClient(ServerContext*, grpc::ServerReader<SimpleRequest>* in, SimpleResponse* reply) override {
    SimpleRequest request;
    int32_t size = 0;
    while (in->Read(&request)) size = request.response_size();
    fill(reply->mutable_payload(), size);
    return Status::OK;
  }
  Status StreamingFromServer(ServerContext*, const SimpleRequest* request, grpc::ServerWriter<SimpleResponse>* out) override {
    SimpleResponse reply;
    fill(reply.mutable_payload(), request->response_size());
    while (out->Write(reply)) {
    }
    return Status::OK;
  }
  Status StreamingBothWays(ServerContext* ctx, both_ways* io) override { return StreamingCall(ctx, io); }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "grpcpp_server: wrong arguments; use grpcpp_server ROOT_OUT\n");
    return 2;
  }
  const auto certificate = warren::net_test::make_certificate("interop.test");
  std::ofstream(argv[1]) << certificate.pem;
  grpc::SslServerCredentialsOptions tls;
  tls.pem_key_cert_pairs.push_back({certificate.key_pem, certificate.pem});
  test_service test;
  benchmark_service benchmark;
  grpc::ServerBuilder builder;
  int plain_port = 0;
  int tls_port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &plain_port);
  builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(tls), &tls_port);
  builder.RegisterService(&test);
  builder.RegisterService(&benchmark);
  const auto server = builder.BuildAndStart();
  if (server == nullptr || plain_port == 0 || tls_port == 0) {
    std::fprintf(stderr, "grpcpp_server: cannot listen on 127.0.0.1\n");
    return 1;
  }
  std::printf("plain %d\ntls %d\n", plain_port, tls_port);
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  server->Shutdown(std::chrono::system_clock::now());
  return 0;
}

// interop_client --target HOST:PORT [CASE…]
//
// The cases of gRPC's public interop-test-descriptions that need no cloud, called through gRPC C++'s client library. One line per case;
// exit status 0 if all were good, 1 if one was not, 2 for wrong arguments. Without CASE: all of them.
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "grpc/testing/test.grpc.pb.h"

// gRPC's own interop client looks into a call with these; the library exports them, its headers do not declare them.
uint32_t grpc_call_test_only_get_message_flags(grpc_call* call);
grpc_compression_algorithm grpc_call_test_only_get_compression_algorithm(grpc_call* call);
constexpr uint32_t kWasCompressed = 0x40000000U;  // GRPC_WRITE_INTERNAL_TEST_ONLY_WAS_COMPRESSED

namespace grpc::testing {
// A friend of ClientContext.
class InteropClientContextInspector {
 public:
  explicit InteropClientContextInspector(const ClientContext& context) : context_(context) {}
  bool was_compressed() const { return (grpc_call_test_only_get_message_flags(context_.call_) & kWasCompressed) != 0; }
  grpc_compression_algorithm algorithm() const { return grpc_call_test_only_get_compression_algorithm(context_.call_); }

 private:
  const ClientContext& context_;
};
}  // namespace grpc::testing

namespace {

using namespace grpc::testing;
using grpc::ClientContext;
using grpc::Status;
using grpc::StatusCode;
using inspector = InteropClientContextInspector;

constexpr std::chrono::seconds kPatience(20);

struct failed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

#define EXPECT(condition)                                                                   \
  do {                                                                                      \
    if (!(condition)) throw failed("line " + std::to_string(__LINE__) + ": " + #condition); \
  } while (false)
#define EXPECT_STATUS(status, code)                                                                                                  \
  do {                                                                                                                               \
    const Status& got = (status);                                                                                                    \
    if (got.error_code() != (code))                                                                                                  \
      throw failed("line " + std::to_string(__LINE__) + ": status " + std::to_string(got.error_code()) + " " + got.error_message()); \
  } while (false)

// A context that cannot hang.
struct limited : ClientContext {
  limited() { set_deadline(std::chrono::system_clock::now() + kPatience); }
};

struct target {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<TestService::Stub> stub;
};

SimpleRequest large_request() {
  SimpleRequest r;
  r.set_response_size(314159);
  r.mutable_payload()->mutable_body()->assign(271828, '\0');
  return r;
}

void empty_unary(target& t) {
  limited ctx;
  Empty reply;
  EXPECT_STATUS(t.stub->EmptyCall(&ctx, Empty(), &reply), StatusCode::OK);
}

void large_unary(target& t) {
  limited ctx;
  SimpleResponse reply;
  EXPECT_STATUS(t.stub->UnaryCall(&ctx, large_request(), &reply), StatusCode::OK);
  EXPECT(reply.payload().body() == std::string(314159, '\0'));
}

void client_compressed_unary(target& t) {
  {
    // The probe: a server that cannot tell would say OK.
    limited ctx;
    SimpleRequest request = large_request();
    request.mutable_expect_compressed()->set_value(true);
    SimpleResponse reply;
    EXPECT_STATUS(t.stub->UnaryCall(&ctx, request, &reply), StatusCode::INVALID_ARGUMENT);
  }
  for (const bool compressed : {true, false}) {
    for (const auto how : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
      limited ctx;
      ctx.set_compression_algorithm(compressed ? how : GRPC_COMPRESS_NONE);
      SimpleRequest request = large_request();
      request.mutable_expect_compressed()->set_value(compressed);
      SimpleResponse reply;
      EXPECT_STATUS(t.stub->UnaryCall(&ctx, request, &reply), StatusCode::OK);
      EXPECT(reply.payload().body().size() == 314159);
    }
  }
}

void server_compressed_unary(target& t) {
  for (const bool compressed : {true, false}) {
    limited ctx;
    SimpleRequest request = large_request();
    request.mutable_response_compressed()->set_value(compressed);
    SimpleResponse reply;
    EXPECT_STATUS(t.stub->UnaryCall(&ctx, request, &reply), StatusCode::OK);
    EXPECT(reply.payload().body() == std::string(314159, '\0'));
    EXPECT(inspector(ctx).was_compressed() == compressed);
    EXPECT(inspector(ctx).algorithm() == (compressed ? GRPC_COMPRESS_GZIP : GRPC_COMPRESS_NONE));
  }
}

void client_streaming(target& t) {
  limited ctx;
  StreamingInputCallResponse reply;
  const auto out = t.stub->StreamingInputCall(&ctx, &reply);
  for (const size_t size : {27182u, 8u, 1828u, 45904u}) {
    StreamingInputCallRequest request;
    request.mutable_payload()->mutable_body()->assign(size, '\0');
    EXPECT(out->Write(request));
  }
  EXPECT(out->WritesDone());
  EXPECT_STATUS(out->Finish(), StatusCode::OK);
  EXPECT(reply.aggregated_payload_size() == 74922);
}

void client_compressed_streaming(target& t) {
  {
    limited ctx;
    StreamingInputCallRequest request;
    request.mutable_expect_compressed()->set_value(true);
    request.mutable_payload()->mutable_body()->assign(27182, '\0');
    StreamingInputCallResponse reply;
    const auto out = t.stub->StreamingInputCall(&ctx, &reply);
    out->Write(request);
    out->WritesDone();
    EXPECT_STATUS(out->Finish(), StatusCode::INVALID_ARGUMENT);
  }
  limited ctx;
  ctx.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  StreamingInputCallResponse reply;
  const auto out = t.stub->StreamingInputCall(&ctx, &reply);
  StreamingInputCallRequest request;
  request.mutable_expect_compressed()->set_value(true);
  request.mutable_payload()->mutable_body()->assign(27182, '\0');
  EXPECT(out->Write(request));
  request.mutable_expect_compressed()->set_value(false);
  request.mutable_payload()->mutable_body()->assign(45904, '\0');
  EXPECT(out->Write(request, grpc::WriteOptions().set_no_compression()));
  EXPECT(out->WritesDone());
  EXPECT_STATUS(out->Finish(), StatusCode::OK);
  EXPECT(reply.aggregated_payload_size() == 73086);
}

void server_streaming(target& t) {
  limited ctx;
  StreamingOutputCallRequest request;
  const std::vector<int> sizes{31415, 9, 2653, 58979};
  for (const int size : sizes) request.add_response_parameters()->set_size(size);
  const auto in = t.stub->StreamingOutputCall(&ctx, request);
  StreamingOutputCallResponse reply;
  for (const int size : sizes) {
    EXPECT(in->Read(&reply));
    EXPECT(reply.payload().body().size() == static_cast<size_t>(size));
  }
  EXPECT(!in->Read(&reply));
  EXPECT_STATUS(in->Finish(), StatusCode::OK);
}

void server_compressed_streaming(target& t) {
  limited ctx;
  StreamingOutputCallRequest request;
  for (const auto& [size, compressed] : {std::pair(31415, true), std::pair(92653, false)}) {
    auto* p = request.add_response_parameters();
    p->set_size(size);
    p->mutable_compressed()->set_value(compressed);
  }
  const auto in = t.stub->StreamingOutputCall(&ctx, request);
  StreamingOutputCallResponse reply;
  EXPECT(in->Read(&reply) && reply.payload().body().size() == 31415);
  EXPECT(inspector(ctx).was_compressed());
  EXPECT(in->Read(&reply) && reply.payload().body().size() == 92653);
  EXPECT(!inspector(ctx).was_compressed());
  EXPECT(!in->Read(&reply));
  EXPECT_STATUS(in->Finish(), StatusCode::OK);
}

void ping_pong(target& t) {
  limited ctx;
  const auto io = t.stub->FullDuplexCall(&ctx);
  for (const auto& [answer, size] : {std::pair(31415, 27182), std::pair(9, 8), std::pair(2653, 1828), std::pair(58979, 45904)}) {
    StreamingOutputCallRequest request;
    request.add_response_parameters()->set_size(answer);
    request.mutable_payload()->mutable_body()->assign(static_cast<size_t>(size), '\0');
    EXPECT(io->Write(request));
    StreamingOutputCallResponse reply;
    if (!io->Read(&reply)) EXPECT_STATUS(io->Finish(), StatusCode::OK);  // says why
    EXPECT(reply.payload().body().size() == static_cast<size_t>(answer));
  }
  EXPECT(io->WritesDone());
  StreamingOutputCallResponse none;
  EXPECT(!io->Read(&none));
  EXPECT_STATUS(io->Finish(), StatusCode::OK);
}

void half_duplex(target& t) {
  limited ctx;
  const auto io = t.stub->HalfDuplexCall(&ctx);
  for (const int size : {1, 2, 3}) {
    StreamingOutputCallRequest request;
    request.add_response_parameters()->set_size(size);
    EXPECT(io->Write(request));
  }
  EXPECT(io->WritesDone());
  StreamingOutputCallResponse reply;
  for (const size_t size : {1u, 2u, 3u}) EXPECT(io->Read(&reply) && reply.payload().body().size() == size);
  EXPECT(!io->Read(&reply));
  EXPECT_STATUS(io->Finish(), StatusCode::OK);
}

void empty_stream(target& t) {
  limited ctx;
  const auto io = t.stub->FullDuplexCall(&ctx);
  EXPECT(io->WritesDone());
  StreamingOutputCallResponse none;
  EXPECT(!io->Read(&none));
  EXPECT_STATUS(io->Finish(), StatusCode::OK);
}

const std::string kInitialKey = "x-grpc-test-echo-initial";
const std::string kInitialValue = "test_initial_metadata_value";
const std::string kTrailingKey = "x-grpc-test-echo-trailing-bin";
const std::string kTrailingValue = "\xab\xab\xab";

void check_echo(const ClientContext& ctx) {
  const auto& initial = ctx.GetServerInitialMetadata();
  const auto i = initial.find(kInitialKey);
  EXPECT(i != initial.end() && std::string(i->second.data(), i->second.size()) == kInitialValue);
  const auto& trailing = ctx.GetServerTrailingMetadata();
  const auto j = trailing.find(kTrailingKey);
  EXPECT(j != trailing.end() && std::string(j->second.data(), j->second.size()) == kTrailingValue);
}

void custom_metadata(target& t) {
  {
    limited ctx;
    ctx.AddMetadata(kInitialKey, kInitialValue);
    ctx.AddMetadata(kTrailingKey, kTrailingValue);
    SimpleResponse reply;
    EXPECT_STATUS(t.stub->UnaryCall(&ctx, large_request(), &reply), StatusCode::OK);
    check_echo(ctx);
  }
  limited ctx;
  ctx.AddMetadata(kInitialKey, kInitialValue);
  ctx.AddMetadata(kTrailingKey, kTrailingValue);
  const auto io = t.stub->FullDuplexCall(&ctx);
  StreamingOutputCallRequest request;
  request.add_response_parameters()->set_size(314159);
  request.mutable_payload()->mutable_body()->assign(271828, '\0');
  EXPECT(io->Write(request));
  EXPECT(io->WritesDone());
  StreamingOutputCallResponse reply;
  EXPECT(io->Read(&reply) && reply.payload().body().size() == 314159);
  EXPECT(!io->Read(&reply));
  EXPECT_STATUS(io->Finish(), StatusCode::OK);
  check_echo(ctx);
}

void status_code_and_message(target& t) {
  const std::string message = "test status message";
  {
    limited ctx;
    SimpleRequest request;
    request.mutable_response_status()->set_code(StatusCode::UNKNOWN);
    request.mutable_response_status()->set_message(message);
    SimpleResponse reply;
    const Status s = t.stub->UnaryCall(&ctx, request, &reply);
    EXPECT_STATUS(s, StatusCode::UNKNOWN);
    EXPECT(s.error_message() == message);
  }
  limited ctx;
  const auto io = t.stub->FullDuplexCall(&ctx);
  StreamingOutputCallRequest request;
  request.mutable_response_status()->set_code(StatusCode::UNKNOWN);
  request.mutable_response_status()->set_message(message);
  io->Write(request);
  io->WritesDone();
  StreamingOutputCallResponse none;
  EXPECT(!io->Read(&none));
  const Status s = io->Finish();
  EXPECT_STATUS(s, StatusCode::UNKNOWN);
  EXPECT(s.error_message() == message);
}

void special_status_message(target& t) {
  const std::string message = "\t\ntest with whitespace\r\nand Unicode BMP \u263A and non-BMP \U0001F608\t\n";
  limited ctx;
  SimpleRequest request;
  request.mutable_response_status()->set_code(StatusCode::UNKNOWN);
  request.mutable_response_status()->set_message(message);
  SimpleResponse reply;
  const Status s = t.stub->UnaryCall(&ctx, request, &reply);
  EXPECT_STATUS(s, StatusCode::UNKNOWN);
  EXPECT(s.error_message() == message);
}

// Of a method and of a service that are not there, called as if they were.
void unimplemented_method(target& t) {
  limited ctx;
  Empty reply;
  EXPECT_STATUS(t.stub->UnimplementedCall(&ctx, Empty(), &reply), StatusCode::UNIMPLEMENTED);
}
void unimplemented_service(target& t) {
  limited ctx;
  Empty reply;
  EXPECT_STATUS(UnimplementedService::NewStub(t.channel)->UnimplementedCall(&ctx, Empty(), &reply), StatusCode::UNIMPLEMENTED);
}

void cancel_after_begin(target& t) {
  limited ctx;
  StreamingInputCallResponse reply;
  const auto out = t.stub->StreamingInputCall(&ctx, &reply);
  ctx.TryCancel();
  EXPECT_STATUS(out->Finish(), StatusCode::CANCELLED);
}

void cancel_after_first_response(target& t) {
  limited ctx;
  const auto io = t.stub->FullDuplexCall(&ctx);
  StreamingOutputCallRequest request;
  request.add_response_parameters()->set_size(31415);
  request.mutable_payload()->mutable_body()->assign(27182, '\0');
  EXPECT(io->Write(request));
  StreamingOutputCallResponse reply;
  EXPECT(io->Read(&reply) && reply.payload().body().size() == 31415);
  ctx.TryCancel();
  EXPECT(!io->Read(&reply));
  EXPECT_STATUS(io->Finish(), StatusCode::CANCELLED);
}

void timeout_on_sleeping_server(target& t) {
  ClientContext ctx;
  ctx.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(1));
  const auto io = t.stub->FullDuplexCall(&ctx);
  StreamingOutputCallRequest request;
  request.mutable_payload()->mutable_body()->assign(27182, '\0');
  io->Write(request);  // may fail: the time may be over
  StreamingOutputCallResponse none;
  EXPECT(!io->Read(&none));
  EXPECT_STATUS(io->Finish(), StatusCode::DEADLINE_EXCEEDED);
}

// An idea of the descriptions, and ours for streams: many large calls at once on one connection.
void concurrent_large_unary(target& t) {
  std::vector<std::thread> threads;
  std::vector<std::string> errors(16);
  for (size_t i = 0; i < errors.size(); i++) {
    threads.emplace_back([&t, &error = errors[i]] {
      try {
        for (int k = 0; k < 20; k++) large_unary(t);
        for (int k = 0; k < 5; k++) ping_pong(t);
      } catch (const failed& e) {
        error = e.what();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& error : errors) {
    if (!error.empty()) throw failed(error);
  }
}

// grpc.testing.BenchmarkService, each shape once.
void benchmark_service(target& t) {
  const auto stub = BenchmarkService::NewStub(t.channel);
  SimpleRequest request;
  request.set_response_size(100);
  {
    limited ctx;
    SimpleResponse reply;
    EXPECT_STATUS(stub->UnaryCall(&ctx, request, &reply), StatusCode::OK);
    EXPECT(reply.payload().body().size() == 100);
  }
  {
    limited ctx;
    const auto io = stub->StreamingCall(&ctx);
    SimpleResponse reply;
    for (int i = 0; i < 1000; i++) EXPECT(io->Write(request) && io->Read(&reply) && reply.payload().body().size() == 100);
    EXPECT(io->WritesDone());
    EXPECT_STATUS(io->Finish(), StatusCode::OK);
  }
  {
    limited ctx;
    SimpleResponse reply;
    const auto out = stub->StreamingFromClient(&ctx, &reply);
    for (int i = 0; i < 20'000; i++) EXPECT(out->Write(request));  // tiny messages as fast as they go: no flood
    EXPECT(out->WritesDone());
    EXPECT_STATUS(out->Finish(), StatusCode::OK);
    EXPECT(reply.payload().body().size() == 100);
  }
  {
    limited ctx;
    const auto in = stub->StreamingFromServer(&ctx, request);
    SimpleResponse reply;
    for (int i = 0; i < 20'000; i++) EXPECT(in->Read(&reply) && reply.payload().body().size() == 100);
    ctx.TryCancel();
    while (in->Read(&reply)) {
    }
    EXPECT_STATUS(in->Finish(), StatusCode::CANCELLED);
  }
  {
    limited ctx;
    const auto io = stub->StreamingBothWays(&ctx);
    std::thread writer([&] {
      for (int i = 0; i < 5000; i++) io->Write(request);
      io->WritesDone();
    });
    SimpleResponse reply;
    int got = 0;
    while (io->Read(&reply)) got++;
    writer.join();
    EXPECT_STATUS(io->Finish(), StatusCode::OK);
    EXPECT(got == 5000);
  }
}

constexpr std::pair<const char*, void (*)(target&)> kCases[] = {
    {"empty_unary", empty_unary},
    {"large_unary", large_unary},
    {"client_compressed_unary", client_compressed_unary},
    {"server_compressed_unary", server_compressed_unary},
    {"client_streaming", client_streaming},
    {"client_compressed_streaming", client_compressed_streaming},
    {"server_streaming", server_streaming},
    {"server_compressed_streaming", server_compressed_streaming},
    {"ping_pong", ping_pong},
    {"half_duplex", half_duplex},
    {"empty_stream", empty_stream},
    {"custom_metadata", custom_metadata},
    {"status_code_and_message", status_code_and_message},
    {"special_status_message", special_status_message},
    {"unimplemented_method", unimplemented_method},
    {"unimplemented_service", unimplemented_service},
    {"cancel_after_begin", cancel_after_begin},
    {"cancel_after_first_response", cancel_after_first_response},
    {"timeout_on_sleeping_server", timeout_on_sleeping_server},
    {"concurrent_large_unary", concurrent_large_unary},
    {"benchmark_service", benchmark_service},
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || std::strcmp(argv[1], "--target") != 0) {
    std::fprintf(stderr, "interop_client: wrong arguments; use interop_client --target HOST:PORT [CASE...]\n");
    return 2;
  }
  target t{grpc::CreateChannel(argv[2], grpc::InsecureChannelCredentials()), nullptr};
  t.stub = TestService::NewStub(t.channel);
  int failures = 0;
  int ran = 0;
  for (const auto& [name, run] : kCases) {
    bool wanted = argc == 3;
    for (int i = 3; i < argc; i++) wanted |= std::strcmp(argv[i], name) == 0;
    if (!wanted) continue;
    ran++;
    try {
      run(t);
      std::printf("ok   %s\n", name);
    } catch (const failed& e) {
      failures++;
      std::printf("FAIL %s: %s\n", name, e.what());
    }
    std::fflush(stdout);
  }
  if (ran == 0) {
    std::fprintf(stderr, "interop_client: there is no such case; leave the names away for all\n");
    return 2;
  }
  return failures == 0 ? 0 : 1;
}

// warren_interop_client --target TARGET [--root FILE --server-name NAME] [CASE…]
//
// The same cases as interop_client.cpp, called through warren's own client. --root: TLS, trusting the certificates in FILE. One line per
// case; exit status 0 if all were good, 1 if one was not, 2 for wrong arguments. Without CASE: all of them.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <warren/go.h>
#include <warren/grpc/client.h>
#include <warren/sync.h>

#include "grpc/testing/test.warren.h"

namespace {

using namespace grpc::testing;
namespace rpc = warren::grpc;
using rpc::status_code;

constexpr std::chrono::seconds kPatience(20);

struct failed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

#define EXPECT(condition)                                                                   \
  do {                                                                                      \
    if (!(condition)) throw failed("line " + std::to_string(__LINE__) + ": " + #condition); \
  } while (false)

void expect_code(const rpc::status& s, status_code code, int line) {
  if (s.code() != code) throw failed("line " + std::to_string(line) + ": status " + rpc::to_string(s.code()) + " " + s.message());
}
#define EXPECT_STATUS(status, code) expect_code((status), (code), __LINE__)

// A context that cannot hang.
struct limited : rpc::client_context {
  limited() { timeout(kPatience); }
};

struct target {
  rpc::channel& channel;
  TestServiceStub stub{channel};
};

SimpleRequest large_request() {
  SimpleRequest r;
  r.set_response_size(314159);
  r.mutable_payload()->mutable_body()->assign(271828, '\0');
  return r;
}

void empty_unary(target& t) {
  limited ctx;
  EXPECT_STATUS(t.stub.EmptyCall(ctx, Empty()).status(), status_code::ok);
}

void large_unary(target& t) {
  limited ctx;
  const auto reply = t.stub.UnaryCall(ctx, large_request());
  EXPECT_STATUS(reply.status(), status_code::ok);
  EXPECT((*reply).payload().body() == std::string(314159, '\0'));
}

void client_compressed_unary(target& t) {
  {
    // The probe: a server that cannot tell would say OK.
    limited ctx;
    SimpleRequest request = large_request();
    request.mutable_expect_compressed()->set_value(true);
    EXPECT_STATUS(t.stub.UnaryCall(ctx, request).status(), status_code::invalid_argument);
  }
  for (const bool compressed : {true, false}) {
    for (const auto how : {rpc::encoding::gzip, rpc::encoding::deflate}) {
      limited ctx;
      if (compressed) ctx.compress(how);
      SimpleRequest request = large_request();
      request.mutable_expect_compressed()->set_value(compressed);
      const auto reply = t.stub.UnaryCall(ctx, request);
      EXPECT_STATUS(reply.status(), status_code::ok);
      EXPECT((*reply).payload().body().size() == 314159);
    }
  }
}

void server_compressed_unary(target& t) {
  for (const bool compressed : {true, false}) {
    limited ctx;
    SimpleRequest request = large_request();
    request.mutable_response_compressed()->set_value(compressed);
    const auto call = t.channel.start(ctx, {"/grpc.testing.TestService/UnaryCall", rpc::method_kind::unary});
    rpc::detail::send_message(*call, request, {}, true);
    const auto reply = rpc::detail::receive_reply<SimpleResponse>(*call);
    EXPECT_STATUS(reply.status(), status_code::ok);
    EXPECT((*reply).payload().body() == std::string(314159, '\0'));
    EXPECT(call->message_compressed() == compressed);
  }
}

void client_streaming(target& t) {
  limited ctx;
  auto out = t.stub.StreamingInputCall(ctx);
  for (const size_t size : {27182u, 8u, 1828u, 45904u}) {
    StreamingInputCallRequest request;
    request.mutable_payload()->mutable_body()->assign(size, '\0');
    EXPECT(out.write(request));
  }
  const auto reply = out.finish();
  EXPECT_STATUS(reply.status(), status_code::ok);
  EXPECT((*reply).aggregated_payload_size() == 74922);
}

void client_compressed_streaming(target& t) {
  {
    limited ctx;
    StreamingInputCallRequest request;
    request.mutable_expect_compressed()->set_value(true);
    request.mutable_payload()->mutable_body()->assign(27182, '\0');
    auto out = t.stub.StreamingInputCall(ctx);
    out.write(request);
    EXPECT_STATUS(out.finish().status(), status_code::invalid_argument);
  }
  limited ctx;
  ctx.compress(rpc::encoding::gzip);
  auto out = t.stub.StreamingInputCall(ctx);
  StreamingInputCallRequest request;
  request.mutable_expect_compressed()->set_value(true);
  request.mutable_payload()->mutable_body()->assign(27182, '\0');
  EXPECT(out.write(request));
  request.mutable_expect_compressed()->set_value(false);
  request.mutable_payload()->mutable_body()->assign(45904, '\0');
  EXPECT(out.write(request, {.compress = false}));
  const auto reply = out.finish();
  EXPECT_STATUS(reply.status(), status_code::ok);
  EXPECT((*reply).aggregated_payload_size() == 73086);
}

void server_streaming(target& t) {
  limited ctx;
  StreamingOutputCallRequest request;
  const std::vector<int> sizes{31415, 9, 2653, 58979};
  for (const int size : sizes) request.add_response_parameters()->set_size(size);
  auto in = t.stub.StreamingOutputCall(ctx, request);
  size_t n = 0;
  for (const StreamingOutputCallResponse& reply : in) {
    EXPECT(n < sizes.size() && reply.payload().body().size() == static_cast<size_t>(sizes[n]));
    n++;
  }
  EXPECT_STATUS(in.finish(), status_code::ok);
  EXPECT(n == sizes.size());
}

void server_compressed_streaming(target& t) {
  limited ctx;
  StreamingOutputCallRequest request;
  for (const auto& [size, compressed] : {std::pair(31415, true), std::pair(92653, false)}) {
    auto* p = request.add_response_parameters();
    p->set_size(size);
    p->mutable_compressed()->set_value(compressed);
  }
  auto in = t.stub.StreamingOutputCall(ctx, request);
  StreamingOutputCallResponse reply;
  EXPECT(in.read(reply) && reply.payload().body().size() == 31415);
  EXPECT(in.message_compressed());
  EXPECT(in.read(reply) && reply.payload().body().size() == 92653);
  EXPECT(!in.message_compressed());
  EXPECT(!in.read(reply));
  EXPECT_STATUS(in.finish(), status_code::ok);
}

void ping_pong(target& t) {
  limited ctx;
  auto io = t.stub.FullDuplexCall(ctx);
  for (const auto& [answer, size] : {std::pair(31415, 27182), std::pair(9, 8), std::pair(2653, 1828), std::pair(58979, 45904)}) {
    StreamingOutputCallRequest request;
    request.add_response_parameters()->set_size(answer);
    request.mutable_payload()->mutable_body()->assign(static_cast<size_t>(size), '\0');
    EXPECT(io.write(request));
    StreamingOutputCallResponse reply;
    if (!io.read(reply)) EXPECT_STATUS(io.finish(), status_code::ok);  // says why
    EXPECT(reply.payload().body().size() == static_cast<size_t>(answer));
  }
  EXPECT(io.writes_done());
  StreamingOutputCallResponse none;
  EXPECT(!io.read(none));
  EXPECT_STATUS(io.finish(), status_code::ok);
}

void half_duplex(target& t) {
  limited ctx;
  auto io = t.stub.HalfDuplexCall(ctx);
  for (const int size : {1, 2, 3}) {
    StreamingOutputCallRequest request;
    request.add_response_parameters()->set_size(size);
    EXPECT(io.write(request));
  }
  EXPECT(io.writes_done());
  StreamingOutputCallResponse reply;
  for (const size_t size : {1u, 2u, 3u}) EXPECT(io.read(reply) && reply.payload().body().size() == size);
  EXPECT(!io.read(reply));
  EXPECT_STATUS(io.finish(), status_code::ok);
}

void empty_stream(target& t) {
  limited ctx;
  auto io = t.stub.FullDuplexCall(ctx);
  EXPECT(io.writes_done());
  StreamingOutputCallResponse none;
  EXPECT(!io.read(none));
  EXPECT_STATUS(io.finish(), status_code::ok);
}

const std::string kInitialKey = "x-grpc-test-echo-initial";
const std::string kInitialValue = "test_initial_metadata_value";
const std::string kTrailingKey = "x-grpc-test-echo-trailing-bin";
const std::string kTrailingValue = "\xab\xab\xab";

void check_echo(const rpc::client_context& ctx) {
  EXPECT(ctx.initial_metadata().find(kInitialKey) == kInitialValue);
  EXPECT(ctx.trailing_metadata().find(kTrailingKey) == kTrailingValue);
}

void custom_metadata(target& t) {
  {
    limited ctx;
    ctx.add_metadata(kInitialKey, kInitialValue);
    ctx.add_metadata(kTrailingKey, kTrailingValue);
    EXPECT_STATUS(t.stub.UnaryCall(ctx, large_request()).status(), status_code::ok);
    check_echo(ctx);
  }
  limited ctx;
  ctx.add_metadata(kInitialKey, kInitialValue);
  ctx.add_metadata(kTrailingKey, kTrailingValue);
  auto io = t.stub.FullDuplexCall(ctx);
  StreamingOutputCallRequest request;
  request.add_response_parameters()->set_size(314159);
  request.mutable_payload()->mutable_body()->assign(271828, '\0');
  EXPECT(io.write(request));
  EXPECT(io.writes_done());
  StreamingOutputCallResponse reply;
  EXPECT(io.read(reply) && reply.payload().body().size() == 314159);
  EXPECT(!io.read(reply));
  EXPECT_STATUS(io.finish(), status_code::ok);
  check_echo(ctx);
}

void status_code_and_message(target& t) {
  const rpc::status wanted(status_code::unknown, "test status message");
  {
    limited ctx;
    SimpleRequest request;
    request.mutable_response_status()->set_code(2);
    request.mutable_response_status()->set_message(wanted.message());
    EXPECT(t.stub.UnaryCall(ctx, request).status() == wanted);
  }
  limited ctx;
  auto io = t.stub.FullDuplexCall(ctx);
  StreamingOutputCallRequest request;
  request.mutable_response_status()->set_code(2);
  request.mutable_response_status()->set_message(wanted.message());
  io.write(request);
  io.writes_done();
  StreamingOutputCallResponse none;
  EXPECT(!io.read(none));
  EXPECT(io.finish() == wanted);
}

void special_status_message(target& t) {
  const std::string message = "\t\ntest with whitespace\r\nand Unicode BMP \u263A and non-BMP \U0001F608\t\n";
  limited ctx;
  SimpleRequest request;
  request.mutable_response_status()->set_code(2);
  request.mutable_response_status()->set_message(message);
  const rpc::status s = t.stub.UnaryCall(ctx, request).status();
  EXPECT_STATUS(s, status_code::unknown);
  EXPECT(s.message() == message);
}

void unimplemented_method(target& t) {
  limited ctx;
  EXPECT_STATUS(t.stub.UnimplementedCall(ctx, Empty()).status(), status_code::unimplemented);
}
void unimplemented_service(target& t) {
  limited ctx;
  EXPECT_STATUS(UnimplementedServiceStub(t.channel).UnimplementedCall(ctx, Empty()).status(), status_code::unimplemented);
}

void cancel_after_begin(target& t) {
  limited ctx;
  auto out = t.stub.StreamingInputCall(ctx);
  ctx.cancel();
  EXPECT_STATUS(out.finish().status(), status_code::cancelled);
}

void cancel_after_first_response(target& t) {
  limited ctx;
  auto io = t.stub.FullDuplexCall(ctx);
  StreamingOutputCallRequest request;
  request.add_response_parameters()->set_size(31415);
  request.mutable_payload()->mutable_body()->assign(27182, '\0');
  EXPECT(io.write(request));
  StreamingOutputCallResponse reply;
  EXPECT(io.read(reply) && reply.payload().body().size() == 31415);
  ctx.cancel();
  EXPECT(!io.read(reply));
  EXPECT_STATUS(io.finish(), status_code::cancelled);
}

void timeout_on_sleeping_server(target& t) {
  rpc::client_context ctx;
  ctx.timeout(std::chrono::milliseconds(1));
  auto io = t.stub.FullDuplexCall(ctx);
  StreamingOutputCallRequest request;
  request.mutable_payload()->mutable_body()->assign(27182, '\0');
  io.write(request);  // may fail: the time may be over
  StreamingOutputCallResponse none;
  EXPECT(!io.read(none));
  EXPECT_STATUS(io.finish(), status_code::deadline_exceeded);
}

// Many large calls at once on one connection.
void concurrent_large_unary(target& t) {
  std::vector<std::string> errors(16);
  warren::wait_group all;
  for (std::string& error : errors) {
    all.go([&t, &error] {
      try {
        for (int k = 0; k < 20; k++) large_unary(t);
        for (int k = 0; k < 5; k++) ping_pong(t);
      } catch (const failed& e) {
        error = e.what();
      }
    });
  }
  all.wait();
  for (const auto& error : errors) {
    if (!error.empty()) throw failed(error);
  }
}

// grpc.testing.BenchmarkService, each shape once.
void benchmark_service(target& t) {
  const BenchmarkServiceStub stub(t.channel);
  SimpleRequest request;
  request.set_response_size(100);
  SimpleResponse reply;
  {
    limited ctx;
    const auto r = stub.UnaryCall(ctx, request);
    EXPECT_STATUS(r.status(), status_code::ok);
    EXPECT((*r).payload().body().size() == 100);
  }
  {
    limited ctx;
    auto io = stub.StreamingCall(ctx);
    for (int i = 0; i < 1000; i++) EXPECT(io.write(request) && io.read(reply) && reply.payload().body().size() == 100);
    EXPECT_STATUS(io.finish(), status_code::ok);
  }
  {
    limited ctx;
    auto out = stub.StreamingFromClient(ctx);
    for (int i = 0; i < 20'000; i++) EXPECT(out.write(request));  // tiny messages as fast as they go
    const auto r = out.finish();
    EXPECT_STATUS(r.status(), status_code::ok);
    EXPECT((*r).payload().body().size() == 100);
  }
  {
    limited ctx;
    auto in = stub.StreamingFromServer(ctx, request);
    for (int i = 0; i < 20'000; i++) EXPECT(in.read(reply) && reply.payload().body().size() == 100);
    ctx.cancel();
    EXPECT_STATUS(in.finish(), status_code::cancelled);
  }
  {
    limited ctx;
    auto io = stub.StreamingBothWays(ctx);
    warren::wait_group writer;
    writer.go([&] {
      for (int i = 0; i < 5000; i++) io.write(request);
      io.writes_done();
    });
    int got = 0;
    while (io.read(reply)) got++;
    writer.wait();
    EXPECT_STATUS(io.finish(), status_code::ok);
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

std::string file(const char* path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

int run_cases(const std::string& where, rpc::channel_options options, const std::vector<std::string>& wanted) {
  rpc::channel channel(where, std::move(options));
  target t{channel};
  int failures = 0;
  int ran = 0;
  for (const auto& [name, run] : kCases) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), name) == wanted.end()) continue;
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
    std::fprintf(stderr, "warren_interop_client: there is no such case; leave the names away for all\n");
    return 2;
  }
  return failures == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::string where;
  rpc::channel_options options;
  std::vector<std::string> wanted;
  for (int i = 1; i < argc; i++) {
    const bool more = i + 1 < argc;
    if (std::strcmp(argv[i], "--target") == 0 && more) {
      where = argv[++i];
    } else if (std::strcmp(argv[i], "--root") == 0 && more) {
      if (!options.tls) options.tls.emplace();
      options.tls->root_certificates = file(argv[++i]);
    } else if (std::strcmp(argv[i], "--server-name") == 0 && more) {
      if (!options.tls) options.tls.emplace();
      options.tls->server_name = argv[++i];
    } else {
      wanted.emplace_back(argv[i]);
    }
  }
  if (where.empty()) {
    std::fprintf(
        stderr,
        "warren_interop_client: wrong arguments; use warren_interop_client --target TARGET [--root FILE --server-name NAME] [CASE...]\n");
    return 2;
  }
  int result = 2;
  warren::run([&] { result = run_cases(where, options, wanted); });
  return result;
}

// smoke_client --target HOST:PORT
//
// Calls a running warrend as the rest of the world will: through gRPC's own C++ client. One line per check; exit status 0 if all were good.
//
// smoke_client --target HOST:PORT --call /package.Service/Method [REQUEST_FILE]
//
// One call of any method, for tests that have no gRPC client of their own: sends the file's bytes as the message (none: the empty message),
// prints "message N" for each answer of N bytes as it comes, and at the end "status CODE TEXT". Exit status 0 whatever the code.
//
// The only file of the tests that includes grpcpp.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "grpc/health/v1/health.pb.h"
#include "warren/v1/runtime.pb.h"

#ifdef __SANITIZE_ADDRESS__
// c-ares, by which gRPC C++ resolves "localhost", leaves ten bytes behind. The leak checker asks for this by name.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:libcares.so"; }
#endif

namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;

// Everything waits at most so long: a server that does not answer is a failed check, not a hanging client.
constexpr milliseconds patience(10'000);

void* const tag = reinterpret_cast<void*>(1);

// Waits for the one operation under way. False: it failed, or (a read) the stream is at its end.
bool finish(grpc::CompletionQueue& queue) {
  void* got = nullptr;
  bool ok = false;
  return queue.Next(&got, &ok) && ok;
}

template <class Request, class Reply>
grpc::Status unary(const std::shared_ptr<grpc::Channel>& channel, const std::string& method, const Request& request, Reply* reply) {
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + patience);
  grpc::TemplatedGenericStub<Request, Reply> stub(channel);
  const auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
  grpc::Status status;
  call->StartCall();
  call->Finish(reply, &status, tag);
  finish(queue);
  return status;
}

// Calls a server-streaming method and reads until the stream ends, `take` says no (then the call is cancelled), or the deadline.
template <class Request, class Reply>
grpc::Status stream(const std::shared_ptr<grpc::Channel>& channel, const std::string& method, const Request& request, milliseconds deadline,
                    const std::function<bool(const Reply&)>& take) {
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + deadline);
  grpc::TemplatedGenericStub<Request, Reply> stub(channel);
  const auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(tag);
  if (finish(queue)) {
    call->WriteLast(request, grpc::WriteOptions(), tag);
    finish(queue);
    for (;;) {
      Reply reply;
      call->Read(&reply, tag);
      if (!finish(queue)) break;
      if (!take(reply)) {
        context.TryCancel();
        break;
      }
    }
  }
  grpc::Status status;
  call->Finish(&status, tag);
  finish(queue);
  return status;
}

std::string text(const grpc::Status& s) { return "code " + std::to_string(s.error_code()) + " '" + s.error_message() + "'"; }

int failures = 0;

void report(const char* check, bool good, const std::string& detail) {
  std::printf("%s %s: %s\n", good ? "ok  " : "FAIL", check, detail.c_str());
  std::fflush(stdout);
  if (!good) failures++;
}

void check_health(const std::shared_ptr<grpc::Channel>& channel) {
  using grpc::health::v1::HealthCheckRequest;
  using grpc::health::v1::HealthCheckResponse;
  HealthCheckRequest request;
  HealthCheckResponse reply;
  grpc::Status s = unary(channel, "/grpc.health.v1.Health/Check", request, &reply);
  report("unary Health.Check", s.ok() && reply.status() == HealthCheckResponse::SERVING,
         s.ok() ? HealthCheckResponse::ServingStatus_Name(reply.status()) : text(s));

  request.set_service("no.such.Service");
  s = unary(channel, "/grpc.health.v1.Health/Check", request, &reply);
  report("Health.Check of an unknown service", s.error_code() == StatusCode::NOT_FOUND, text(s));
}

void check_runtime(const std::shared_ptr<grpc::Channel>& channel) {
  warren::v1::Stats stats;
  grpc::Status s = unary(channel, "/warren.v1.Runtime/GetStats", warren::v1::GetStatsRequest(), &stats);
  report("unary Runtime.GetStats", s.ok() && stats.scheduler().goroutines() > 0 && stats.scheduler().ps() > 0,
         s.ok() ? std::to_string(stats.scheduler().goroutines()) + " goroutines, " + std::to_string(stats.scheduler().ps()) + " Ps, " +
                      std::to_string(stats.scheduler().ms()) + " Ms, " + std::to_string(stats.heap().bytes()) + " bytes in objects"
                : text(s));

  warren::v1::Collection did;
  s = unary(channel, "/warren.v1.Runtime/Collect", warren::v1::CollectRequest(), &did);
  report("unary Runtime.Collect", s.ok() && did.cycle() > stats.collector().collections() && did.trigger() == warren::v1::TRIGGER_MANUAL,
         s.ok() ? "cycle " + std::to_string(did.cycle()) + ", " + std::to_string(did.bytes_marked()) + " bytes reachable, pause " +
                      std::to_string(did.pause().nanos() / 1000) + " us"
                : text(s));

  warren::v1::WatchStatsRequest request;
  request.mutable_interval()->set_nanos(50'000'000);
  int got = 0;
  s = stream<warren::v1::WatchStatsRequest, warren::v1::Stats>(channel, "/warren.v1.Runtime/WatchStats", request, patience,
                                                               [&](const warren::v1::Stats&) { return ++got < 3; });
  report("streaming Runtime.WatchStats", got == 3 && s.error_code() == StatusCode::CANCELLED,
         std::to_string(got) + " messages, then cancelled: " + text(s));

  request.mutable_interval()->set_nanos(1);
  s = stream<warren::v1::WatchStatsRequest, warren::v1::Stats>(channel, "/warren.v1.Runtime/WatchStats", request, patience,
                                                               [](const warren::v1::Stats&) { return true; });
  report("Runtime.WatchStats with a bad interval", s.error_code() == StatusCode::INVALID_ARGUMENT, text(s));
}

void check_deadline(const std::shared_ptr<grpc::Channel>& channel) {
  using grpc::health::v1::HealthCheckRequest;
  using grpc::health::v1::HealthCheckResponse;
  int got = 0;
  const grpc::Status s =
      stream<HealthCheckRequest, HealthCheckResponse>(channel, "/grpc.health.v1.Health/Watch", HealthCheckRequest(), milliseconds(300),
                                                      [&](const HealthCheckResponse&) { return ++got < 100; });
  report("deadline exceeded in Health.Watch", got == 1 && s.error_code() == StatusCode::DEADLINE_EXCEEDED,
         std::to_string(got) + " message, then " + text(s));
}

void check_unknown(const std::shared_ptr<grpc::Channel>& channel) {
  warren::v1::Stats reply;
  for (const char* method : {"/warren.v1.Runtime/NoSuchMethod", "/no.such.Service/Method"}) {
    const grpc::Status s = unary(channel, method, warren::v1::GetStatsRequest(), &reply);
    report("unknown method", s.error_code() == StatusCode::UNIMPLEMENTED, std::string(method) + ": " + text(s));
  }
}

int call_any(const std::shared_ptr<grpc::Channel>& channel, const std::string& method, const char* file) {
  std::string bytes;
  if (file != nullptr) {
    std::ifstream in(file, std::ios::binary);
    if (!in) {
      std::fprintf(stderr, "smoke_client: cannot read %s\n", file);
      return 2;
    }
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  const grpc::Slice slice(bytes);
  const grpc::Status s = stream<grpc::ByteBuffer, grpc::ByteBuffer>(channel, method, grpc::ByteBuffer(&slice, 1), milliseconds(60'000),
                                                                    [](const grpc::ByteBuffer& reply) {
                                                                      std::printf("message %zu\n", reply.Length());
                                                                      std::fflush(stdout);
                                                                      return true;
                                                                    });
  std::printf("status %d %s\n", s.error_code(), s.error_message().c_str());
  return 0;
}

std::string file_of(const char* variable) {
  const char* const name = std::getenv(variable);
  if (name == nullptr) return {};
  std::ifstream in(name, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Through TLS if SMOKE_TLS_CA names the file of an authority; with a certificate of its own if SMOKE_TLS_CERT and SMOKE_TLS_KEY do.
std::shared_ptr<grpc::ChannelCredentials> credentials() {
  if (std::getenv("SMOKE_TLS_CA") == nullptr) return grpc::InsecureChannelCredentials();
  return grpc::SslCredentials({file_of("SMOKE_TLS_CA"), file_of("SMOKE_TLS_KEY"), file_of("SMOKE_TLS_CERT")});
}

// False at the first failed attempt: the server was there before us or it is not there.
bool connected(grpc::Channel& channel) {
  const auto end = std::chrono::system_clock::now() + patience;
  for (;;) {
    const grpc_connectivity_state now = channel.GetState(true);
    if (now == GRPC_CHANNEL_READY) return true;
    if (now == GRPC_CHANNEL_TRANSIENT_FAILURE || now == GRPC_CHANNEL_SHUTDOWN) return false;
    if (!channel.WaitForStateChange(now, end)) return false;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool one_call = (argc == 5 || argc == 6) && std::strcmp(argv[3], "--call") == 0;
  if ((argc != 3 && !one_call) || std::strcmp(argv[1], "--target") != 0) {
    std::fprintf(stderr, "smoke_client: wrong arguments; use smoke_client --target HOST:PORT [--call /SERVICE/METHOD [FILE]]\n");
    return 2;
  }
  const auto channel = grpc::CreateChannel(argv[2], credentials());
  if (!connected(*channel)) {
    std::fprintf(stderr, "smoke_client: no connection to %s; is warrend running there?\n", argv[2]);
    return 1;
  }
  if (one_call) return call_any(channel, argv[4], argc == 6 ? argv[5] : nullptr);
  check_health(channel);
  check_runtime(channel);
  check_deadline(channel);
  check_unknown(channel);
  return failures == 0 ? 0 : 1;
}

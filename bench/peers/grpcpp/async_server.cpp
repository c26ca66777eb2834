// helloworld.Greeter on gRPC C++'s completion-queue API, the fastest that library offers:
// one completion queue per thread, many outstanding requests on each, call objects reused, no locks and no logging of our own.
#include <grpcpp/grpcpp.h>
#include <sched.h>

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "greeter_main.h"
#include "helloworld.grpc.pb.h"

namespace {

// How many requests wait on each queue. Measured with 1000 streams open: 64 to 256 is best, 1024 costs a tenth (colder caches).
constexpr int kOutstanding = 256;

// Set before shutdown begins: a request on a queue that was shut down is an error.
std::atomic<bool> stopping{false};

// One unary call: requested → answered → requested again. Its address is the tag.
class call {
 public:
  call(helloworld::Greeter::AsyncService* service, grpc::ServerCompletionQueue* queue) : service_(service), queue_(queue) { request(); }

  // ok: false when the answer could not be sent (the client is gone), or when no request will come any more (shutdown).
  void proceed(bool ok) {
    if (stopping.load(std::memory_order_relaxed) || (!ok && !answering_)) return;
    if (answering_) {
      request();
      return;
    }
    answering_ = true;
    reply_.set_message(request_.name());
    writer_->Finish(reply_, grpc::Status::OK, this);
  }

 private:
  void request() {
    answering_ = false;
    writer_.reset();
    context_.emplace();  // gRPC forbids using a context twice
    request_.Clear();
    writer_.emplace(&*context_);
    service_->RequestSayHello(&*context_, &request_, &*writer_, queue_, queue_, this);
  }

  helloworld::Greeter::AsyncService* service_;
  grpc::ServerCompletionQueue* queue_;
  std::optional<grpc::ServerContext> context_;
  helloworld::HelloRequest request_;
  helloworld::HelloReply reply_;
  std::optional<grpc::ServerAsyncResponseWriter<helloworld::HelloReply>> writer_;
  bool answering_ = false;
};

void serve(helloworld::Greeter::AsyncService* service, grpc::ServerCompletionQueue* queue) {
  std::deque<call> calls;
  for (int i = 0; i < kOutstanding; i++) calls.emplace_back(service, queue);
  void* tag;
  bool ok;
  while (queue->Next(&tag, &ok)) {
    static_cast<call*>(tag)->proceed(ok);
  }
}

int usable_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const greeter_flags flags = parse_greeter_flags(argc, argv);
  const sigset_t end = block_end_signals();
  const int threads = flags.threads > 0 ? flags.threads : usable_processors();
  helloworld::Greeter::AsyncService service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(flags.listen, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
  for (int i = 0; i < threads; i++) queues.push_back(builder.AddCompletionQueue());
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) port = 0;
  std::vector<std::thread> workers;
  if (port != 0) {
    for (auto& queue : queues) workers.emplace_back(serve, &service, queue.get());
  }
  wait_for_end(flags.listen, port, end);
  stopping.store(true);
  server->Shutdown();
  for (auto& queue : queues) queue->Shutdown();
  for (auto& worker : workers) worker.join();
}

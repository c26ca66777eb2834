// helloworld.Greeter, warren.bench.Load and warren.bench.Shipping on gRPC C++'s completion-queue API, the fastest that library offers:
// one completion queue per thread, many outstanding requests on each, call objects reused, no locks and no logging of our own.
#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "greeter_main.h"
#include "helloworld.grpc.pb.h"
#include "load.grpc.pb.h"
#include "shipment.grpc.pb.h"

namespace {

// How many requests wait on each queue. Measured with 1000 streams open: 64 to 256 is best, 1024 costs a tenth (colder caches).
constexpr int kOutstanding = 256;

// Set before shutdown begins: a request on a queue that was shut down is an error.
std::atomic<bool> stopping{false};

using warren::bench::Job;

// What a queue's tags point to.
class tag {
 public:
  // ok: false when an answer could not be sent (the client is gone), when there is nothing more to read, or when no request will come any
  // more (shutdown).
  virtual void proceed(bool ok) = 0;

 protected:
  ~tag() = default;
};

void answer(const helloworld::HelloRequest& request, helloworld::HelloReply& reply) { reply.set_message(request.name()); }
void answer(const warren::bench::ShipRequest& request, warren::bench::ShipReply& reply) { *reply.mutable_shipment() = request.shipment(); }

// One unary call: requested → answered → requested again. Its address is the tag. kRequest: the service's function that asks for a call.
template <class Service, auto kRequest, class Request, class Reply>
class call final : public tag {
 public:
  call(Service* service, grpc::ServerCompletionQueue* queue) : service_(service), queue_(queue) { request(); }

  void proceed(bool ok) override {
    if (stopping.load(std::memory_order_relaxed) || (!ok && !answering_)) return;
    if (answering_) {
      request();
      return;
    }
    answering_ = true;
    answer(request_, reply_);
    writer_->Finish(reply_, grpc::Status::OK, static_cast<tag*>(this));
  }

 private:
  void request() {
    answering_ = false;
    writer_.reset();
    context_.emplace();  // gRPC forbids using a context twice
    request_.Clear();
    writer_.emplace(&*context_);
    (service_->*kRequest)(&*context_, &request_, &*writer_, queue_, queue_, static_cast<tag*>(this));
  }

  Service* service_;
  grpc::ServerCompletionQueue* queue_;
  std::optional<grpc::ServerContext> context_;
  Request request_;
  Reply reply_;
  std::optional<grpc::ServerAsyncResponseWriter<Reply>> writer_;
  bool answering_ = false;
};
using greeter = helloworld::Greeter::AsyncService;
using shipping = warren::bench::Shipping::AsyncService;
using hello_call = call<greeter, &greeter::RequestSayHello, helloworld::HelloRequest, helloworld::HelloReply>;
using ship_call = call<shipping, &shipping::RequestShip, warren::bench::ShipRequest, warren::bench::ShipReply>;

// What the calls of warren.bench.Load have in common: a step each time the queue says that the one before is done.
class load_call : public tag {
 public:
  load_call(warren::bench::Load::AsyncService* service, grpc::ServerCompletionQueue* queue) : service_(service), queue_(queue) {}
  void proceed(bool ok) final {
    if (stopping.load(std::memory_order_relaxed)) return;
    if (fresh_ && !ok) return;
    if (finishing_) {
      again();
      return;
    }
    fresh_ = false;
    step(ok);
  }
  void again() {
    fresh_ = true;
    finishing_ = false;
    context_.emplace();
    job_.Clear();
    request();
  }

 protected:
  ~load_call() = default;
  virtual void request() = 0;
  virtual void step(bool ok) = 0;

  warren::bench::Load::AsyncService* service_;
  grpc::ServerCompletionQueue* queue_;
  std::optional<grpc::ServerContext> context_;
  Job job_;
  bool fresh_ = true;       // requested, and not begun
  bool finishing_ = false;  // its status is on its way
};

class sleep_call final : public load_call {
 public:
  using load_call::load_call;

 private:
  void request() override {
    slept_ = false;
    alarm_.emplace();
    writer_.emplace(&*context_);
    service_->RequestSleep(&*context_, &job_, &*writer_, queue_, queue_, static_cast<tag*>(this));
  }
  void step(bool) override {
    if (!slept_) {
      slept_ = true;
      alarm_->Set(queue_, std::chrono::system_clock::now() + std::chrono::milliseconds(job_.milliseconds()), static_cast<tag*>(this));
      return;
    }
    finishing_ = true;
    writer_->Finish(job_, grpc::Status::OK, static_cast<tag*>(this));
  }

  bool slept_ = false;
  std::optional<grpc::Alarm> alarm_;
  std::optional<grpc::ServerAsyncResponseWriter<Job>> writer_;
};

class stream_call final : public load_call {
 public:
  using load_call::load_call;

 private:
  void request() override {
    written_ = 0;
    writer_.emplace(&*context_);
    service_->RequestStream(&*context_, &job_, &*writer_, queue_, queue_, static_cast<tag*>(this));
  }
  void step(bool ok) override {
    if (ok && written_ < job_.count()) {
      written_++;
      writer_->Write(job_, static_cast<tag*>(this));
      return;
    }
    finishing_ = true;
    writer_->Finish(ok ? grpc::Status::OK : grpc::Status::CANCELLED, static_cast<tag*>(this));
  }

  int written_ = 0;
  std::optional<grpc::ServerAsyncWriter<Job>> writer_;
};

class chat_call final : public load_call {
 public:
  using load_call::load_call;

 private:
  void request() override {
    reading_ = false;
    io_.emplace(&*context_);
    service_->RequestChat(&*context_, &*io_, queue_, queue_, static_cast<tag*>(this));
  }
  void step(bool ok) override {
    if (!ok) {
      finishing_ = true;
      io_->Finish(grpc::Status::OK, static_cast<tag*>(this));
    } else if (reading_) {
      reading_ = false;
      io_->Write(job_, static_cast<tag*>(this));
    } else {
      reading_ = true;
      io_->Read(&job_, static_cast<tag*>(this));
    }
  }

  bool reading_ = false;
  std::optional<grpc::ServerAsyncReaderWriter<Job, Job>> io_;
};

void serve(greeter* hello, warren::bench::Load::AsyncService* load, shipping* ship, grpc::ServerCompletionQueue* queue, int sleepers) {
  std::deque<hello_call> hellos;
  std::deque<ship_call> ships;
  std::deque<sleep_call> sleeps;
  std::deque<stream_call> streams;
  std::deque<chat_call> chats;
  for (int i = 0; i < kOutstanding; i++) {
    hellos.emplace_back(hello, queue);
    ships.emplace_back(ship, queue);
    streams.emplace_back(load, queue).again();
    chats.emplace_back(load, queue).again();
  }
  for (int i = 0; i < sleepers; i++) sleeps.emplace_back(load, queue).again();
  void* done;
  bool ok;
  while (queue->Next(&done, &ok)) {
    static_cast<tag*>(done)->proceed(ok);
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
  greeter hello;
  warren::bench::Load::AsyncService load;
  shipping ship;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(flags.listen, credentials_of(flags), &port);
  builder.RegisterService(&hello);
  builder.RegisterService(&load);
  builder.RegisterService(&ship);
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
  for (int i = 0; i < threads; i++) queues.push_back(builder.AddCompletionQueue());
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) port = 0;
  std::vector<std::thread> workers;
  if (port != 0) {
    for (auto& queue : queues) workers.emplace_back(serve, &hello, &load, &ship, queue.get(), flags.sleepers);
  }
  wait_for_end(flags.listen, port, end);
  stopping.store(true);
  server->Shutdown();
  for (auto& queue : queues) queue->Shutdown();
  for (auto& worker : workers) worker.join();
}

// helloworld.Greeter, warren.bench.Load and warren.bench.Shipping on gRPC C++'s callback API, the interface its documentation recommends.
// The library brings its own threads (CallbackAlternativeCQ: at least two), so there is nothing to tune here.
#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <chrono>

#include "greeter_main.h"
#include "helloworld.grpc.pb.h"
#include "load.grpc.pb.h"
#include "shipment.grpc.pb.h"

namespace {

using warren::bench::Job;

class greeter final : public helloworld::Greeter::CallbackService {
  grpc::ServerUnaryReactor* SayHello(grpc::CallbackServerContext* context, const helloworld::HelloRequest* request,
                                     helloworld::HelloReply* reply) override {
    reply->set_message(request->name());
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();  // lives in the call's own memory: no allocation
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

// Reactors delete themselves when their call is over.
class sleeper final : public grpc::ServerUnaryReactor {
 public:
  explicit sleeper(int milliseconds) {
    alarm_.Set(std::chrono::system_clock::now() + std::chrono::milliseconds(milliseconds), [this](bool) { Finish(grpc::Status::OK); });
  }
  void OnDone() override { delete this; }

 private:
  grpc::Alarm alarm_;
};

class streamer final : public grpc::ServerWriteReactor<Job> {
 public:
  explicit streamer(const Job* job) : job_(job), left_(job->count()) { next(); }
  void OnWriteDone(bool ok) override { ok ? next() : Finish(grpc::Status::CANCELLED); }
  void OnDone() override { delete this; }

 private:
  void next() { left_-- > 0 ? StartWrite(job_) : Finish(grpc::Status::OK); }

  const Job* job_;  // lives as long as the call
  int left_;
};

class chatter final : public grpc::ServerBidiReactor<Job, Job> {
 public:
  chatter() { StartRead(&job_); }
  void OnReadDone(bool ok) override { ok ? StartWrite(&job_) : Finish(grpc::Status::OK); }
  void OnWriteDone(bool ok) override { ok ? StartRead(&job_) : Finish(grpc::Status::CANCELLED); }
  void OnDone() override { delete this; }

 private:
  Job job_;
};

class load final : public warren::bench::Load::CallbackService {
  grpc::ServerUnaryReactor* Sleep(grpc::CallbackServerContext*, const Job* job, Job* reply) override {
    *reply = *job;
    return new sleeper(job->milliseconds());
  }
  grpc::ServerWriteReactor<Job>* Stream(grpc::CallbackServerContext*, const Job* job) override { return new streamer(job); }
  grpc::ServerBidiReactor<Job, Job>* Chat(grpc::CallbackServerContext*) override { return new chatter; }
};

class shipping final : public warren::bench::Shipping::CallbackService {
  grpc::ServerUnaryReactor* Ship(grpc::CallbackServerContext* context, const warren::bench::ShipRequest* request,
                                 warren::bench::ShipReply* reply) override {
    *reply->mutable_shipment() = request->shipment();
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

}  // namespace

int main(int argc, char** argv) {
  greeter hello;
  load work;
  shipping ship;
  serve_until_end(argc, argv, {&hello, &work, &ship});
}

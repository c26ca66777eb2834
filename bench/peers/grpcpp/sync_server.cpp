// helloworld.Greeter and warren.bench.Load on gRPC C++'s synchronous API, whose handlers may block as ours do: a thread for each call.
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <thread>

#include "greeter_main.h"
#include "helloworld.grpc.pb.h"
#include "load.grpc.pb.h"

namespace {

using warren::bench::Job;

class greeter final : public helloworld::Greeter::Service {
  grpc::Status SayHello(grpc::ServerContext*, const helloworld::HelloRequest* request, helloworld::HelloReply* reply) override {
    reply->set_message(request->name());
    return grpc::Status::OK;
  }
};

class load final : public warren::bench::Load::Service {
  grpc::Status Sleep(grpc::ServerContext*, const Job* job, Job* reply) override {
    std::this_thread::sleep_for(std::chrono::milliseconds(job->milliseconds()));
    *reply = *job;
    return grpc::Status::OK;
  }
  grpc::Status Stream(grpc::ServerContext*, const Job* job, grpc::ServerWriter<Job>* out) override {
    for (int i = 0; i < job->count(); i++) {
      if (!out->Write(*job)) return grpc::Status::CANCELLED;
    }
    return grpc::Status::OK;
  }
  grpc::Status Chat(grpc::ServerContext*, grpc::ServerReaderWriter<Job, Job>* io) override {
    Job job;
    while (io->Read(&job) && io->Write(job)) {
    }
    return grpc::Status::OK;
  }
};

}  // namespace

int main(int argc, char** argv) {
  greeter hello;
  load work;
  serve_until_end(argc, argv, {&hello, &work});
}

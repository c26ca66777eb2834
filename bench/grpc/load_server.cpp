// warren.bench.Load and helloworld.Greeter on warren, for bench_grpc.
#include <load.warren.h>

#include <chrono>

#include <warren/go.h>

#include "server/host/host.h"

namespace {

using warren::bench::Job;
namespace grpc = warren::grpc;

class load final : public warren::bench::LoadService {
  grpc::result<Job> Sleep(grpc::server_context& ctx, const Job& job) override {
    if (warren::sleep(ctx, std::chrono::milliseconds(job.milliseconds()))) return grpc::cancelled("nobody waits any more");
    return job;
  }
  grpc::status Stream(grpc::server_context&, const Job& job, grpc::writer<Job>& out) override {
    for (int i = 0; i < job.count(); i++) {
      if (!out.write(job)) return grpc::cancelled("nobody reads any more");
    }
    return {};
  }
  grpc::status Chat(grpc::server_context&, grpc::stream<Job, Job>& io) override {
    Job job;
    while (io.read(job) && io.write(job)) {
    }
    return {};
  }
};

}  // namespace

int main(int argc, char** argv) {
  return warren::host::main_of({"bench_load_server", "Serves warren.bench.Load."}, argc, argv, [](warren::host::services& s) {
    static load l;
    s.add(l);
  });
}

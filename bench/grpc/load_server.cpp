// warren.bench.Load, warren.bench.Shipping and helloworld.Greeter on warren, for bench_grpc.
#include <load.warren.h>
#include <shipment.warren.h>

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

class shipping final : public warren::bench::ShippingService {
  grpc::result<warren::bench::ShipReply> Ship(grpc::server_context&, const warren::bench::ShipRequest& request) override {
    warren::bench::ShipReply reply;
    *reply.mutable_shipment() = request.shipment();
    return reply;
  }
};

}  // namespace

int main(int argc, char** argv) {
  return warren::host::main_of({"bench_load_server", "Serves warren.bench.Load and warren.bench.Shipping."}, argc, argv,
                               [](warren::host::services& s) {
                                 static load l;
                                 static shipping ship;
                                 s.add(l);
                                 s.add(ship);
                               });
}

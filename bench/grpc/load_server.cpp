// warren.bench.Load, warren.bench.Shipping and helloworld.Greeter on warren, for bench_grpc.
#include <load.warren.h>
#include <shipment.warren.h>

#include <atomic>
#include <chrono>

#include <warren/go.h>
#include <warren/ptr.h>
#include <warren/string.h>

#include "server/host/host.h"

namespace {

using warren::bench::Job;
namespace grpc = warren::grpc;

// What a server that keeps what it is sent might make of a request: all of it is the collector's.
struct entry {
  warren::ptr<const Job> job;
  warren::string text;
  warren::ptr<entry> before;
};
constexpr size_t kShelf = 512;

class load final : public warren::bench::LoadService {
  grpc::result<Job> Sleep(grpc::server_context& ctx, const Job& job) override {
    if (warren::sleep(ctx, std::chrono::milliseconds(job.milliseconds()))) return grpc::cancelled("nobody waits any more");
    return job;
  }
  // The places are taken in turns, so two handlers meet at one only when 512 calls are made during one.
  grpc::result<Job> Keep(grpc::server_context& ctx, const Job& job) override {
    const size_t place = next_.fetch_add(1, std::memory_order_relaxed) % kShelf;
    const warren::array<warren::ptr<entry>>& shelf = shelf_->places;
    const warren::ptr<entry> first = warren::make<entry>(ctx.keep(job), warren::string("kept"), nullptr);
    shelf[place] = warren::make<entry>(first->job, first->text, first);
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

  struct shelf_of_entries {
    warren::array<warren::ptr<entry>> places;
  };
  std::atomic<size_t> next_{0};
  warren::root<shelf_of_entries> shelf_ = warren::make<shelf_of_entries>(warren::make_array<warren::ptr<entry>>(kShelf));
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

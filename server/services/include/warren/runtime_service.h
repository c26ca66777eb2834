// warren.v1.Runtime: the process's own figures over gRPC, and a collection on demand (proto/warren/v1/runtime.proto).
// Whoever can call it can make the process collect as often as it likes, one collection after another: serve it where operators are.
#pragma once
#include <memory>

#include <warren/v1/runtime.warren.h>

namespace warren::grpc {

// Thread safety: any goroutine. Collect and WatchStats park.
class runtime_service final : public ::warren::v1::RuntimeService {
 public:
  runtime_service();
  ~runtime_service() override;

  // Ends every WatchStats with UNAVAILABLE, now and from now on: they would otherwise keep a server that waits for its calls from stopping.
  void shutdown();

  result<::warren::v1::Stats> GetStats(server_context& ctx, const ::warren::v1::GetStatsRequest& request) override;
  result<::warren::v1::Collection> Collect(server_context& ctx, const ::warren::v1::CollectRequest& request) override;
  status WatchStats(server_context& ctx, const ::warren::v1::WatchStatsRequest& request, writer<::warren::v1::Stats>& out) override;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace warren::grpc

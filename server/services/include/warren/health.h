// grpc.health.v1.Health: tells load balancers, Kubernetes and gRPC clients which services can be called.
//
//   warren::grpc::health_service health;
//   server.add(health);
//   health.set_serving("", true);                        // the server as a whole
//   health.set_serving("helloworld.Greeter", true);
//   … on SIGTERM: health.shutdown(); server.shutdown(grace);
#pragma once
#include <grpc/health/v1/health.warren.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace warren::grpc {

// Thread safety: any goroutine. Handlers park in Watch only.
class health_service final : public ::grpc::health::v1::HealthService {
 public:
  health_service();
  ~health_service() override;

  // From now on `service` is SERVING or NOT_SERVING; who watches it is told. The empty name is the server as a whole. A service is
  // known from the first call on. Ignored after shutdown(), so that a late start-up step cannot revive a server that goes.
  void set_serving(std::string_view service, bool serving);

  // Is it known and SERVING?
  bool serving(std::string_view service) const;

  // Everything known becomes NOT_SERVING, for good. Watches are told and then end with UNAVAILABLE: they would otherwise keep
  // a server that waits for its calls from ever stopping.
  void shutdown();

  result<::grpc::health::v1::HealthCheckResponse> Check(server_context& ctx,
                                                        const ::grpc::health::v1::HealthCheckRequest& request) override;
  result<::grpc::health::v1::HealthListResponse> List(server_context& ctx, const ::grpc::health::v1::HealthListRequest& request) override;
  status Watch(server_context& ctx, const ::grpc::health::v1::HealthCheckRequest& request,
               writer<::grpc::health::v1::HealthCheckResponse>& out) override;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace warren::grpc

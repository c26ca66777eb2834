#include <optional>
#include <utility>

#include <warren/chan.h>
#include <warren/health.h>
#include <warren/select.h>
#include <warren/sync.h>

#include "server/services/broadcast.h"
#include "server/services/caller_gone.h"

namespace warren::grpc {

namespace health_v1 = ::grpc::health::v1;
using serving_status = health_v1::HealthCheckResponse::ServingStatus;

namespace {
// The protocol lets List refuse rather than send very many; the number is the one grpc-go and grpc-java use.
constexpr size_t max_listed = 100;
}  // namespace

struct health_service::state {
  mutable mutex m;
  std::map<std::string, serving_status, std::less<>> known WARREN_GUARDED_BY(m);
  bool shut_down WARREN_GUARDED_BY(m) = false;
  broadcast changed;

  std::optional<serving_status> of(std::string_view service, bool* going) const {
    lock_guard hold(m);
    if (going != nullptr) *going = shut_down;
    const auto found = known.find(service);
    if (found == known.end()) return std::nullopt;
    return found->second;
  }
};

health_service::health_service() : state_(std::make_unique<state>()) {}
health_service::~health_service() = default;

void health_service::set_serving(std::string_view service, bool serving) {
  {
    lock_guard hold(state_->m);
    if (state_->shut_down) return;
    state_->known.insert_or_assign(std::string(service),
                                   serving ? health_v1::HealthCheckResponse::SERVING : health_v1::HealthCheckResponse::NOT_SERVING);
  }
  state_->changed.notify();
}

bool health_service::serving(std::string_view service) const {
  return state_->of(service, nullptr) == health_v1::HealthCheckResponse::SERVING;
}

void health_service::shutdown() {
  {
    lock_guard hold(state_->m);
    state_->shut_down = true;
    for (auto& [service, status] : state_->known) status = health_v1::HealthCheckResponse::NOT_SERVING;
  }
  state_->changed.notify();
}

result<health_v1::HealthCheckResponse> health_service::Check(server_context&, const health_v1::HealthCheckRequest& request) {
  const std::optional<serving_status> now = state_->of(request.service(), nullptr);
  if (!now) return not_found("unknown service '" + request.service() + "'; List tells which are known");
  health_v1::HealthCheckResponse reply;
  reply.set_status(*now);
  return reply;
}

result<health_v1::HealthListResponse> health_service::List(server_context&, const health_v1::HealthListRequest&) {
  health_v1::HealthListResponse reply;
  lock_guard hold(state_->m);
  if (state_->known.size() > max_listed) {
    return resource_exhausted(std::to_string(state_->known.size()) + " services are more than List answers; use Check");
  }
  for (const auto& [service, status] : state_->known) (*reply.mutable_statuses())[service].set_status(status);
  return reply;
}

status health_service::Watch(server_context& ctx, const health_v1::HealthCheckRequest& request,
                             writer<health_v1::HealthCheckResponse>& out) {
  broadcast::listener changes(state_->changed);  // before the first look, so that no change is missed
  const chan<unit> done = ctx.done();
  std::optional<serving_status> told;
  for (;;) {
    bool going = false;
    const serving_status now = state_->of(request.service(), &going).value_or(health_v1::HealthCheckResponse::SERVICE_UNKNOWN);
    if (told != now) {
      health_v1::HealthCheckResponse reply;
      reply.set_status(now);
      if (!out.write(reply)) break;
      told = now;
    }
    if (going) return unavailable("the server is shutting down; ask another");
    select(recv(changes.wake()), recv(done));
    if (ctx.cancelled()) break;
  }
  return caller_gone(ctx);
}

}  // namespace warren::grpc

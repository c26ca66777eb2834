// attempt_plan: whether a call is sent again, and when, by its service config's policy (gRPC A6) and by what every call is granted.
//
// At any moment one attempt is planned or none. The first is planned from the beginning. Somebody takes the planned one, which is then
// under way; what becomes of it may plan another. Transparent attempts, for which no server has done anything, count for no policy: a call
// never sent is sent again as often as that happens, one that a server refused once.
#pragma once
#include <cstdint>
#include <optional>

#include <warren/grpc/status.h>

#include "server/client/service_config.h"
#include "server/client/throttle.h"

namespace warren::grpc::client {

// Knows no clock, no lock and no connection. Guarded by the call's lock.
class attempt_plan {
 public:
  enum class kind : uint8_t { first, transparent, retry, hedge };
  struct outcome {
    bool tolerated = false;  // the policy lets the call go on: by the attempt that is planned now, or by those under way
    bool throttled = false;  // it would have planned one, but too many calls fail
  };

  // of: the channel's.
  explicit attempt_plan(throttle& of) noexcept : throttle_(of) {}
  void set_policy(const std::optional<retry_policy>& retry, const std::optional<hedging_policy>& hedging) {
    retry_ = retry;
    hedging_ = hedging;
  }

  // When the planned one is due, as nanotime; 0: none is planned.
  int64_t due() const noexcept { return due_; }
  bool planned() const noexcept { return due_ != 0; }
  // None is planned any more: the call is committed, or over.
  void drop() noexcept { due_ = 0; }
  // The planned one is not planned any more, but somebody's to begin. true: it is a transparent one.
  bool take() noexcept;
  // It has begun.
  kind begun(bool transparent) noexcept;
  // Attempts before the last that began, as grpc-previous-rpc-attempts counts them.
  int previous() const noexcept { return made_ - 1; }
  // After one that has begun: plans the next. REQUIRES: hedges(), the policy is one of hedging.
  bool hedges() const noexcept { return hedging_.has_value(); }
  void hedge(int64_t now) noexcept;

  // No server has seen the last one: it is sent again at once.
  void again() noexcept;
  // A server has refused the last one without looking at it. true: for the first time.
  bool refused() noexcept;
  // An attempt has failed. pushback: what the server says of retries, in ms; sendable: all of the output is still there. random: in [0, 1).
  outcome failed(status_code code, std::optional<int64_t> pushback, bool sendable, int64_t now, double random) noexcept;

 private:
  static constexpr int64_t kAtOnce = 1;

  throttle& throttle_;
  std::optional<retry_policy> retry_;
  std::optional<hedging_policy> hedging_;
  int64_t due_ = kAtOnce;
  bool transparent_ = false;  // the planned one
  int made_ = 0;              // attempts that count for a policy
  int backoffs_ = 0;          // in a row
  bool refused_ = false;
};

}  // namespace warren::grpc::client

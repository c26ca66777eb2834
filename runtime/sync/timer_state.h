// What a warren::timer or ticker points to.
#pragma once
#include <cstdint>

#include "runtime/os/mutex.h"
#include "runtime/sync/in_collected.h"
#include "runtime/sync/run_timer.h"
#include "warren/timer.h"

namespace warren::detail {

struct timer_state {
  enum class kind : uint8_t { channel, function };
  explicit timer_state(kind k) noexcept : what(k) {}
  timer_state(const timer_state&) = delete;

  // One start, stop or reset at a time. The firing side never takes it: timer_start may wait for a running function's end.
  rt::mutex lock;
  const kind what;
  run_timer timer;  // guarded by lock
  WARREN_FIELDS(lock, what, timer);
};

}  // namespace warren::detail

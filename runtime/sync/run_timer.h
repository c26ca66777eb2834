// A timer of the scheduler in memory that may outlive the run it was armed in.
//
// The Ps, whose heaps hold armed timers, end with their warren::run; the collected heap does not. So a collected object with a timer inside
// may be looked at again in a later run, where rt::timer's link to its P is stale. This one notices: in another run than that of its last
// start it is simply not armed.
#pragma once
#include <cstdint>
#include <limits>
#include <new>

#include "runtime/os/clock.h"
#include "runtime/sched/scheduler.h"
#include "runtime/sched/timer.h"
#include "warren/ptr.h"

namespace warren::detail {

class run_timer {
 public:
  using collected = noscan;

  // REQUIRES of all three: as for rt::timer, one thread at a time.
  void start(void (*fn)(void*, uintptr_t), void* arg, uintptr_t seq, int64_t when, int64_t period) {
    if (!of_this_run()) {
      ::new (&t_) rt::timer;
      run_ = rt::scheduler::run_number();
    }
    t_.fn = fn;
    t_.arg = arg;
    t_.seq = seq;
    t_.when = when;
    t_.period = period;
    rt::timer_start(&t_);
  }
  bool stop() noexcept { return of_this_run() && rt::timer_stop(&t_); }
  bool stop_sync() noexcept { return of_this_run() && rt::timer_stop_sync(&t_); }

  bool of_this_run() const noexcept { return run_ == rt::scheduler::run_number(); }
  void* arg() const noexcept { return t_.arg; }

 private:
  rt::timer t_;
  uint64_t run_ = 0;  // of the last start; runs count from 1
};

// now + delay, in nanotime; a customary "never" stays one.
inline int64_t time_from_now(int64_t delay_ns) noexcept {
  const int64_t now = rt::nanotime();
  if (delay_ns <= 0) return now;
  return delay_ns > std::numeric_limits<int64_t>::max() - now ? std::numeric_limits<int64_t>::max() : now + delay_ns;
}

}  // namespace warren::detail

// cond: a condition variable for goroutines.
#pragma once
#include <chrono>
#include <cstdint>
#include <mutex>
#include <utility>

#include "warren/sync.h"
#include "warren/thread_safety.h"

namespace warren {

// Where goroutines wait for something to change that a warren::mutex guards. Most of what it is used for is better done with a channel: a
// close is a broadcast, a send a signal, and both work with select.
//
//   lock_guard hold(m);
//   nonempty.wait(m, [&] { return !queue.empty(); });
//
// wait returns only after a signal or a broadcast that came after it had let the mutex go (there are no spurious wake-ups), but somebody
// else may hold the mutex in between: look at the condition again, as the forms with a predicate do. Signals are not remembered. Those who
// wait are woken in the order in which they came.
//
// Neither moves nor is copied; may lie anywhere. May be destroyed when nobody waits any more, that is, when all waits have returned or have
// been signalled.
class cond {
 public:
  using collected = noscan;

  constexpr cond() = default;
  cond(const cond&) = delete;
  cond& operator=(const cond&) = delete;
#ifndef NDEBUG
  ~cond() { check_nobody_waits(); }
#endif

  // Lets m go, waits, takes m again. REQUIRES: m is locked (else a fatal error). On a goroutine.
  void wait(mutex& m) WARREN_REQUIRES(m);
  template <class Predicate>
  void wait(mutex& m, Predicate&& holds) WARREN_REQUIRES(m) {
    while (!holds()) wait(m);
  }
  void wait(std::unique_lock<mutex>& l) WARREN_NO_THREAD_SAFETY_ANALYSIS { wait(*owned(l)); }
  template <class Predicate>
  void wait(std::unique_lock<mutex>& l, Predicate&& holds) WARREN_NO_THREAD_SAFETY_ANALYSIS {
    while (!holds()) wait(l);
  }

  // As wait, but for d at the most. false: the time was over before a signal came. (With a predicate: what it says at the end.)
  bool wait_for(mutex& m, std::chrono::nanoseconds d) WARREN_REQUIRES(m);
  bool wait_for(std::unique_lock<mutex>& l, std::chrono::nanoseconds d) WARREN_NO_THREAD_SAFETY_ANALYSIS { return wait_for(*owned(l), d); }
  template <class Lock, class Predicate>
  bool wait_for(Lock& l, std::chrono::nanoseconds d, Predicate&& holds) WARREN_NO_THREAD_SAFETY_ANALYSIS {
    const auto now = std::chrono::steady_clock::now();
    const auto never = std::chrono::steady_clock::time_point::max();
    const auto until = d > never - now ? never : now + d;
    while (!holds()) {
      if (!wait_for(l, std::chrono::nanoseconds(until - std::chrono::steady_clock::now()))) return holds();
    }
    return true;
  }

  // Wakes the one who waits longest, if anybody does. With or without the mutex. Never parks; any thread.
  void signal() noexcept;
  // Wakes all. Likewise.
  void broadcast() noexcept;

 private:
  static mutex* owned(std::unique_lock<mutex>& l) noexcept;
  void check_nobody_waits() noexcept;

  detail::wait_queue_storage waiters_;
};

}  // namespace warren

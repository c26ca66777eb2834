// event: one goroutine waits, with a deadline, until anybody (a goroutine, another thread, a timer) says that something has happened.
//
// The word: nobody waits · set · expired (the timer fired before the waiter had parked) · g* parked, with the last bits of its run's number
// in the bits that an address leaves free: the next run's goroutines have the same addresses. set() exchanges in `set` and readies a g*
// that it finds; the timer's function exchanges g* for nil and readies it. Whoever takes the g* out readies it, so once. After its exchange
// set() does not touch the event any more: the waiter may destroy it as soon as wait() has returned true and it knows that nobody else will
// call set(). A goroutine whose warren::run has ended is gone; it is not readied by a set() that comes later. A thread outside may be
// between its exchange and the ready when the run ends: it holds the run meanwhile (scheduler::guest), and readies if that is the run the
// waiter is of. What an earlier run's waiter has left in the word counts as nobody for the next.
#pragma once
#include <atomic>
#include <cstdint>

#include "runtime/sched/park.h"

namespace warren::rt {

class event {
 public:
  event() = default;
  event(const event&) = delete;
  event& operator=(const event&) = delete;

  // Any thread, also while a run ends or begins. Several before a wait are one.
  void set() noexcept;

  // Parks until set() was called since the last wait (true) or the deadline (nanotime; 0: none) has passed (false). One goroutine at a
  // time. Throws std::bad_alloc if no timer can be had. outside: what is waited for happens outside of the runtime (a thread, a library):
  // the program is not deadlocked meanwhile.
  bool wait(int64_t deadline, bool outside = false);

 private:
  static constexpr uintptr_t kNobody = 0;
  static constexpr uintptr_t kSet = 1;
  static constexpr uintptr_t kExpired = 2;
  static constexpr uintptr_t kRunBits = 63;

  bool take_set() noexcept;
  static g* waiter(uintptr_t word) noexcept;
  static bool commit(g* gp, void* self) noexcept;
  static void on_timer(void* self, uintptr_t seq) noexcept;

  std::atomic<uintptr_t> word_{kNobody};
  std::atomic<uint64_t> run_{0};  // of the waiter; written before the g* is published
};

// For tests: called, when set, by a set() that has taken a waiter out and not readied it yet.
extern void (*event_test_hook)();

}  // namespace warren::rt

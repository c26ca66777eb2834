// turn: the one wake-up of a waiting goroutine for which several others compete: a signal and a timeout, say.
//
// Whoever changes the word from `running` or `parked` to a reason has won and readies the goroutine if it had parked; all others pass by.
// If it had not parked yet, its commit finds the reason and it does not park. (A select has the same with many channels: sudog.h.)
//
// The record lies on the waiter's stack. It may be gone as soon as the word holds a reason, unless somebody holds a lock that the waiter
// needs on its way out: the winner touches nothing of it afterwards.
#pragma once
#include <atomic>
#include <cstdint>
#include <new>

#include "runtime/os/mutex.h"
#include "runtime/sched/park.h"
#include "warren/sync.h"

namespace warren::detail {

class turn {
 public:
  enum reason : uint32_t { running = 0, parked = 1, signalled = 2, timed_out = 3 };

  explicit turn(rt::g* gp) noexcept : gp_(gp) {}

  // By the goroutine itself, once: parks until there is a reason; returns it.
  reason wait(rt::wait_reason why) {
    if (word_.load(std::memory_order_relaxed) == running) rt::gopark(&commit, this, why);
    return word_.load(std::memory_order_acquire);
  }

  // true: the caller has won, and must goready(*sleeper) unless that is nullptr.
  bool take(reason r, rt::g** sleeper) noexcept {
    rt::g* const gp = gp_;
    reason was = word_.load(std::memory_order_relaxed);
    do {
      if (was > parked) return false;
    } while (!word_.compare_exchange_weak(was, r, std::memory_order_acq_rel, std::memory_order_relaxed));
    *sleeper = was == parked ? gp : nullptr;
    return true;
  }

 private:
  static bool commit(rt::g*, void* self) noexcept {
    reason expected = running;
    return static_cast<turn*>(self)->word_.compare_exchange_strong(expected, parked, std::memory_order_acq_rel);
  }

  rt::g* const gp_;
  std::atomic<reason> word_{running};
};

// Somebody who waits in a queue from whose middle he may leave.
template <class Waiter>
struct queue_link {
  Waiter* next = nullptr;
  Waiter* prev = nullptr;
  bool linked = false;
};

// All of it under `lock`. Zero bits are an empty queue: a zeroed wait_queue_storage is one. Waiter has a queue_link named `link`.
template <class Waiter>
struct leavable_queue {
  rt::mutex lock;
  Waiter* first = nullptr;
  Waiter* last = nullptr;

  void push_back(Waiter* w) noexcept {
    w->link = {nullptr, last, true};
    (last == nullptr ? first : last->link.next) = w;
    last = w;
  }
  void remove(Waiter* w) noexcept {
    (w->link.prev == nullptr ? first : w->link.prev->link.next) = w->link.next;
    (w->link.next == nullptr ? last : w->link.next->link.prev) = w->link.prev;
    w->link.linked = false;
  }

  static leavable_queue& in(wait_queue_storage& s) noexcept {
    static_assert(sizeof(leavable_queue) <= sizeof(wait_queue_storage));
    return *std::launder(reinterpret_cast<leavable_queue*>(s.bytes));
  }
};

}  // namespace warren::detail

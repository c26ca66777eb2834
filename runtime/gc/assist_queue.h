// Credit for marking, and who waits for it.
//
// Workers mark and add what they have done to the credit. Who allocates owes marking: it takes credit, or marks itself (collector::assist).
// One that owes, finds nothing to mark and may not be forgiven (pacer.h: the memory limit is near) waits here, in order of arrival, with
// its debt. What workers do from then on pays the first one's debt, in part if it is more, then the second one's; only when nobody waits
// does it become credit for those who come. Who does not wait takes nothing while somebody does. All debts are forgiven when the marking is
// over, or when the reason to insist has gone.
//
// No wake-up is lost. Adding takes no lock while nobody waits, so one who adds can miss one who comes, and the other way round, but not
// both:
//   adds     credit += work;     is anybody waiting? then pay, under the lock
//   waits    under the lock: waiting += 1;   is there credit? then take it, and wait for the rest only
// All four are sequentially consistent: if the first sees nobody, the second sees the work. Closing is under the lock: who comes later is
// refused. So nobody waits while there is credit, but for the moment before the lock is free, and nobody waits outside of marking.
//
// Workers pay in brackets, in which nobody is to be made runnable: who is paid moves to a second list, and wake_paid(), outside, wakes
// those. Who has added work calls it afterwards, whoever has paid with it: that may be one who came to wait, and who wakes nobody. So one
// who adds and sees that nobody waits any more must also see that somebody was paid: `waiting` is lowered last, with release.
// (tests/interleave/assist_queue_test. It was relaxed, and that test found the lost wake-up; x86 does not have it.) It knows no goroutines:
// tests/runtime/gc/assist_queue_test waits with threads.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/os/critical.h"

namespace warren::rt {

class assist_queue {
 public:
  struct waiter {
    int64_t debt = 0;  // bytes of marking; the queue's while it waits
    void (*wake)(waiter* w) noexcept = nullptr;
    waiter* next = nullptr;
  };

  // A marking begins: no credit. REQUIRES: nobody waits.
  void open() noexcept;
  // The marking is over: everybody is forgiven, and nobody waits any more.
  void close() noexcept;
  // Everybody who waits now is.
  void forgive() noexcept;

  // By who has marked. wake_paid() is to follow.
  void add(int64_t work) noexcept;
  // By who owes: up to `most` of the credit.
  int64_t take(int64_t most) noexcept;
  // REQUIRES: debt > 0. True: w waits, and will be woken once, with its debt 0; from now on, even before this returns. False: the debt is 0
  // already.
  bool wait(waiter* w) noexcept;
  // Wakes those whose debt is 0. Not in a bracket.
  void wake_paid() noexcept;

  // That ever waited.
  uint64_t waits() const noexcept { return waits_.load(std::memory_order_relaxed); }

 private:
  struct list {
    waiter* first = nullptr;
    waiter* last = nullptr;
    void push(waiter* w) noexcept;
    waiter* pop() noexcept;
  };
  // REQUIRES (all): lock_.
  void pay() noexcept;
  void move_all() noexcept;
  void paid(waiter* w) noexcept;  // one that was in waiting_list_
  int64_t take_credit(int64_t most) noexcept;

  std::atomic<int64_t> credit_{0};
  std::atomic<size_t> waiting_{0};  // in waiting_list_, or about to be; raised under lock_
  std::atomic<bool> any_paid_{false};
  std::atomic<uint64_t> waits_{0};
  critical_mutex lock_;
  // Guarded by lock_.
  bool open_ = false;
  list waiting_list_, paid_;
};

}  // namespace warren::rt

#include "netpoll/event.h"

#include "netpoll/poller.h"
#include "runtime/os/clock.h"
#include "runtime/sched/g.h"
#include "runtime/sched/scheduler.h"
#include "runtime/sched/timer.h"

namespace warren::rt {

void (*event_test_hook)() = nullptr;

g* event::waiter(uintptr_t word) noexcept {
  static_assert(alignof(g) > kRunBits);
  return reinterpret_cast<g*>(word & ~kRunBits);
}

void event::set() noexcept {
  // Read before the exchange: afterwards the event may be gone. Whoever sees a waiter in the word sees the run it was written in; and the
  // exchange fails if it is another run's by now.
  uintptr_t old = word_.load(std::memory_order_acquire);
  uint64_t run;
  do {
    if (old == kSet) return;
    run = old > kExpired ? run_.load(std::memory_order_relaxed) : 0;
  } while (!word_.compare_exchange_weak(old, kSet, std::memory_order_acq_rel, std::memory_order_acquire));
  if (old <= kExpired) return;
  if (event_test_hook != nullptr) [[unlikely]]
    event_test_hook();
  const scheduler::guest s;
  if (s && s->number() == run) goready(waiter(old));
}

bool event::commit(g* gp, void* self) noexcept {
  uintptr_t nobody = kNobody;
  event* e = static_cast<event*>(self);
  const uintptr_t parked = reinterpret_cast<uintptr_t>(gp) | (e->run_.load(std::memory_order_relaxed) & kRunBits);
  return e->word_.compare_exchange_strong(nobody, parked, std::memory_order_acq_rel);
}

void event::on_timer(void* self, uintptr_t) noexcept {
  event* e = static_cast<event*>(self);
  uintptr_t old = e->word_.load(std::memory_order_acquire);
  uintptr_t next;
  do {
    if (old == kSet || old == kExpired) return;
    next = old == kNobody ? kExpired : kNobody;
  } while (!e->word_.compare_exchange_weak(old, next, std::memory_order_acq_rel));
  if (old != kNobody) goready(waiter(old));
}

// Nobody waits now: the word is `set`, or what an earlier run has left in it.
bool event::take_set() noexcept { return word_.exchange(kNobody, std::memory_order_acq_rel) == kSet; }

bool event::wait(int64_t deadline, bool outside) {
  if (take_set()) return true;
  if (deadline != 0 && nanotime() >= deadline) return false;
  run_.store(scheduler::run_number(), std::memory_order_relaxed);
  timer t;  // on this stack: not in a heap any more when the function returns
  if (deadline != 0) {
    t.fn = &on_timer;
    t.arg = this;
    t.when = deadline;
    timer_start(&t);  // may throw: before anything is counted
  }
  poller* counted = nullptr;
  if (outside) {
    int error = 0;
    counted = poller::get(&error);
    if (counted != nullptr) {
      counted->attach();
      counted->add_waiters(1);
    }
  }
  gopark(&commit, this, wait_reason::io_wait);
  if (deadline != 0) timer_stop_sync(&t);
  if (counted != nullptr) counted->add_waiters(-1);
  return take_set();
}

}  // namespace warren::rt

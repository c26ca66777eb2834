#include "netpoll/event.h"

#include "netpoll/poller.h"
#include "runtime/os/clock.h"
#include "runtime/sched/scheduler.h"
#include "runtime/sched/timer.h"

namespace warren::rt {

void event::set() noexcept {
  // Read before the exchange: afterwards the event may be gone. Whoever sees a g* in the word sees the run it was written in.
  uintptr_t old = word_.load(std::memory_order_acquire);
  uint32_t run;
  do {
    if (old == kSet) return;
    run = old > kExpired ? run_.load(std::memory_order_relaxed) : 0;
  } while (!word_.compare_exchange_weak(old, kSet, std::memory_order_acq_rel, std::memory_order_acquire));
  if (old > kExpired && run == poller::run_number() && scheduler::current() != nullptr) goready(reinterpret_cast<g*>(old));
}

bool event::commit(g* gp, void* self) noexcept {
  uintptr_t nobody = kNobody;
  return static_cast<event*>(self)->word_.compare_exchange_strong(nobody, reinterpret_cast<uintptr_t>(gp), std::memory_order_acq_rel);
}

void event::on_timer(void* self, uintptr_t) noexcept {
  event* e = static_cast<event*>(self);
  uintptr_t old = e->word_.load(std::memory_order_acquire);
  uintptr_t next;
  do {
    if (old == kSet || old == kExpired) return;
    next = old == kNobody ? kExpired : kNobody;
  } while (!e->word_.compare_exchange_weak(old, next, std::memory_order_acq_rel));
  if (old != kNobody) goready(reinterpret_cast<g*>(old));
}

bool event::wait(int64_t deadline, bool outside) {
  uintptr_t set = kSet;
  if (word_.compare_exchange_strong(set, kNobody, std::memory_order_acq_rel)) return true;
  if (deadline != 0 && nanotime() >= deadline) return false;
  run_.store(poller::run_number(), std::memory_order_relaxed);
  poller* counted = nullptr;
  if (outside) {
    int error = 0;
    counted = poller::get(&error);
    if (counted != nullptr) {
      counted->attach();
      counted->add_waiters(1);
    }
  }
  timer t;  // on this stack: not in a heap any more when the function returns
  if (deadline != 0) {
    t.fn = &on_timer;
    t.arg = this;
    t.when = deadline;
    timer_start(&t);
  }
  gopark(&commit, this, wait_reason::io_wait);
  if (deadline != 0) timer_stop_sync(&t);
  if (counted != nullptr) counted->add_waiters(-1);
  return word_.exchange(kNobody, std::memory_order_acq_rel) == kSet;
}

}  // namespace warren::rt

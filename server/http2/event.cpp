#include "server/http2/event.h"

#include <mutex>
#include <utility>

#include "runtime/sched/park.h"
#include "runtime/sched/timer.h"

namespace warren::http2 {

struct event::waiter {
  event* of;
  rt::g* gp;
  waiter* next;
  bool linked;
  bool expired;
  rt::timer limit;
};

void event::set() noexcept {
  waiter* all;
  {
    std::lock_guard hold(mutex_);
    set_ = true;
    all = std::exchange(first_, nullptr);
    for (waiter* w = all; w != nullptr; w = w->next) w->linked = false;
  }
  while (all != nullptr) {
    waiter* const w = all;
    all = all->next;  // before goready: the waiter lies on the goroutine's stack
    rt::goready(w->gp);
  }
}

// On a scheduler stack.
void event::expire(void* arg, uintptr_t) {
  auto* w = static_cast<waiter*>(arg);
  {
    std::lock_guard hold(w->of->mutex_);
    w->expired = true;
    if (!w->linked) return;  // not yet: the waiter sees expired; no longer: set() readies it
    w->linked = false;
    waiter** at = &w->of->first_;
    while (*at != w) at = &(*at)->next;
    *at = w->next;
  }
  rt::goready(w->gp);
}

bool event::wait_until(int64_t when) {
  waiter w{this, rt::getg(), nullptr, false, false, {}};
  if (when != 0) {
    // Armed before the lock is taken: arming is a runtime entry. It may fire at once.
    w.limit.fn = &event::expire;
    w.limit.arg = &w;
    w.limit.when = when;
    rt::timer_start(&w.limit);
  }
  mutex_.lock();
  if (!set_ && !w.expired) {
    w.linked = true;
    w.next = first_;
    first_ = &w;
    rt::gopark(&rt::park_unlock, &mutex_, rt::wait_reason::other);
    mutex_.lock();
  }
  const bool happened = set_;
  mutex_.unlock();
  if (when != 0) rt::timer_stop_sync(&w.limit);
  return happened;
}

}  // namespace warren::http2

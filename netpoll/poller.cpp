#include "netpoll/poller.h"

#include "netpoll/back_end.h"
#include "runtime/os/mutex.h"
#include "runtime/sched/hooks.h"
#include "runtime/sched/scheduler.h"

namespace warren::rt {

constinit std::atomic<poller*> poller::made_{nullptr};

namespace {
constinit mutex making;
constinit std::atomic<bool> hooked{false};
void (*next_hook)() = nullptr;  // who listened to runtime_started before us
}  // namespace

poller* poller::get(int* error) noexcept {
  *error = 0;
  if (poller* p = made_.load(std::memory_order_acquire)) return p;
  making.lock();
  poller* p = made_.load(std::memory_order_acquire);
  if (p == nullptr) {
    p = back_end::make(error);
    if (p != nullptr) made_.store(p, std::memory_order_release);
  }
  making.unlock();
  return p;
}

// The process may call warren::run again: the new run has to poll too, even if it only waits on descriptors made earlier. runtime_started
// is read at the start of a run only: putting ourselves in front of it during the first run is no race.
void poller::on_run_started() {
  if (next_hook != nullptr) next_hook();
  poller* self = made_.load(std::memory_order_acquire);
  if (self == nullptr) return;
  self->waiters_.store(0, std::memory_order_relaxed);
  set_netpoller(self);
}

void poller::attach() {
  if (!hooked.load(std::memory_order_acquire)) {
    making.lock();
    if (!hooked.load(std::memory_order_relaxed)) {
      next_hook = sched_hooks.runtime_started;
      sched_hooks.runtime_started = &poller::on_run_started;
      hooked.store(true, std::memory_order_release);
    }
    making.unlock();
  }
  if (getg() != nullptr) set_netpoller(this);
}

}  // namespace warren::rt

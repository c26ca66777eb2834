// How many threads.
//
// Ms are made when a P needs one and none is idle: when goroutines sit in blocking calls, declared or not, or compute without a P. Two
// things keep their number sensible.
//
// A limit (WARREN_MAX_THREADS, 10 000). Go's program crashes when it is reached; here goroutines wait in line before they enter a declared
// blocking region, first come, first served. The line forms while all but 2 × GOMAXPROCS of the limit are in use: one GOMAXPROCS' worth of
// threads to run what is runnable, and one for calls that passed the test at the same moment. So a flood of blocking calls slows down
// blocking calls, and nothing else. Undeclared calls cannot be made to wait: if those alone reach the limit, Ps stay idle until one
// returns.
//
// Retirement. After a burst of blocking calls idle threads beyond a few live for WARREN_IDLE_THREAD_MS (5 s) and end. Those idle longest
// go: the list of idle Ms is a stack. Their m structures are used again, since others may still hold a pointer to one.
#include <mutex>

#include "runtime/os/critical.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/scheduler.h"

namespace warren::rt {

// REQUIRES: lock_.
bool scheduler::threads_are_short() const noexcept {
  const uint32_t busy = live_ms() - idle_m_count_ - locked_asleep_;
  return busy + 2 * all_p_.in_use() > max_ms_;
}

// Parks until threads are not short. On a goroutine, outside a bracket.
void scheduler::await_thread() {
  struct wait {
    static bool join(g* gp, void* arg) {
      auto* s = static_cast<scheduler*>(arg);
      const std::lock_guard guard(s->lock_);
      if (!s->threads_are_short()) return false;
      gp->next = nullptr;
      if (s->thread_last_ == nullptr) {
        s->thread_first_ = gp;
      } else {
        s->thread_last_->next = gp;
      }
      s->thread_last_ = gp;
      s->thread_waiters_.fetch_add(1, std::memory_order_relaxed);
      s->totals_.thread_waits.fetch_add(1, std::memory_order_relaxed);
      return true;
    }
  };
  // Woken one at a time: by an M that becomes idle while threads are not short, and by the one woken before. Who is woken and finds threads
  // short again goes to the end of the line: by then somebody else's call has begun, so the line moves.
  for (;;) {
    g* next = nullptr;
    bool must_wait;
    {
      const critical_section not_held_with_the_lock;
      const std::lock_guard guard(lock_);
      must_wait = threads_are_short();
      if (!must_wait) next = pop_thread_waiter();
    }
    if (next != nullptr) goready(next);
    if (!must_wait) return;
    gopark(&wait::join, this, wait_reason::thread);
  }
}

// REQUIRES: lock_. Returns who may go on.
g* scheduler::pop_thread_waiter() noexcept {
  g* gp = thread_first_;
  if (gp == nullptr) return nullptr;
  thread_first_ = static_cast<g*>(gp->next);
  if (thread_first_ == nullptr) thread_last_ = nullptr;
  gp->next = nullptr;
  thread_waiters_.fetch_sub(1, std::memory_order_relaxed);
  return gp;
}

// REQUIRES: lock_; one M less is busy. Lets one go on, through the global queue: wake_p is the caller's, without the lock.
void scheduler::let_thread_waiter_go() noexcept {
  if (thread_first_ == nullptr || threads_are_short()) return;
  g* gp = pop_thread_waiter();
  gp->status.store(g_status::runnable, std::memory_order_release);
  put_global_locked(gp, gp, 1);
}

// mp has been idle for long. True if it is out of the list of idle Ms and is to end its thread; false if somebody is just waking it.
bool scheduler::retire(m* mp) noexcept {
  const std::lock_guard guard(lock_);
  m** at = &idle_ms_;
  while (*at != nullptr && *at != mp) at = &(*at)->idle_link;
  if (*at == nullptr) return false;
  *at = mp->idle_link;
  --idle_m_count_;
  mp->retiring = true;
  return true;
}

// The last thing a retiring M's thread does with the scheduler but for saying that it is done.
void scheduler::retired(m* mp) noexcept {
  const std::lock_guard guard(lock_);
  mp->idle_link = dead_ms_;
  dead_ms_ = mp;
  totals_.m_retirements.fetch_add(1, std::memory_order_relaxed);
  let_thread_waiter_go();
  if (!threads_are_short()) threads_short_.store(false, std::memory_order_relaxed);
}

// An m for a new thread: a retired one's if there is any.
m* scheduler::reuse_m() noexcept {
  m* mp;
  {
    const std::lock_guard guard(lock_);
    mp = dead_ms_;
    if (mp == nullptr) return nullptr;
    dead_ms_ = mp->idle_link;
  }
  pthread_join(mp->handle, nullptr);  // it is at its end, and holds no lock
  mp->handle = pthread_t{};
  mp->idle_link = nullptr;
  mp->retiring = false;
  mp->in_rt.store(1, std::memory_order_relaxed);
  mp->requests.store(0, std::memory_order_relaxed);
  mp->park.clear();
  mp->done.store(false, std::memory_order_relaxed);
  ms_done_.fetch_sub(1, std::memory_order_relaxed);
  return mp;
}

}  // namespace warren::rt

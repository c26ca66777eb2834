// cond: a queue of goroutines.
//
// No lost signal. A waiter enters the queue while it still holds the mutex, and lets the mutex go afterwards. Who changes the condition
// under the mutex after that, and signals, finds it there; that it may not have parked yet is the turn's business (turn.h).
// No stolen signal. A signal takes the first waiter in the queue whose turn it wins. One that has timed out at the same moment has lost its
// turn to the timer; the signal passes on to the next. One that the signal has won reports the signal, though its time may be over, too.
// Woken waiters compete for the mutex like everybody else.
#include "warren/cond.h"

#include "runtime/os/fatal.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/timer.h"
#include "runtime/sync/hchan.h"
#include "runtime/sync/run_timer.h"
#include "runtime/sync/test_point.h"
#include "runtime/sync/turn.h"
#include "warren/go.h"

namespace warren {

namespace {
struct cond_waiter {
  detail::turn turn;
  detail::queue_link<cond_waiter> link;
};
using cond_queue = detail::leavable_queue<cond_waiter>;

void must_be_locked(mutex& m) {
  if (!m.try_lock()) return;
  rt::fatal("goroutine %llu: cond::wait with mutex %p, which is not locked: lock it before you look at the condition",
            static_cast<unsigned long long>(goroutine_id()), static_cast<void*>(&m));
}
}  // namespace

mutex* cond::owned(std::unique_lock<mutex>& l) noexcept {
  if (!l.owns_lock())
    rt::fatal("goroutine %llu: cond::wait with a unique_lock that owns no lock: lock it before you look at the condition",
              static_cast<unsigned long long>(goroutine_id()));
  return l.mutex();
}

void cond::wait(mutex& m) WARREN_NO_THREAD_SAFETY_ANALYSIS {
  cond_queue& queue = cond_queue::in(waiters_);
  cond_waiter me{detail::turn(detail::must_getg("cond::wait")), {}};
  must_be_locked(m);
  queue.lock.lock();
  queue.push_back(&me);
  queue.lock.unlock();
  WARREN_SYNC_POINT();
  m.unlock();
  WARREN_SYNC_POINT();
  me.turn.wait(rt::wait_reason::sync_cond_wait);
  // A signal without the mutex may have given us our turn before we parked, and be about to unlock the queue of a cond that our caller
  // destroys next.
  queue.lock.lock();
  queue.lock.unlock();
  m.lock();
}

bool cond::wait_for(mutex& m, std::chrono::nanoseconds d) WARREN_NO_THREAD_SAFETY_ANALYSIS {
  cond_queue& queue = cond_queue::in(waiters_);
  cond_waiter me{detail::turn(detail::must_getg("cond::wait_for")), {}};
  must_be_locked(m);
  queue.lock.lock();
  queue.push_back(&me);
  queue.lock.unlock();
  m.unlock();
  rt::timer timer;
  timer.fn = [](void* turn, uintptr_t) {
    WARREN_SYNC_POINT();
    rt::g* sleeper;
    if (static_cast<detail::turn*>(turn)->take(detail::turn::timed_out, &sleeper) && sleeper != nullptr) rt::goready(sleeper);
  };
  timer.arg = &me.turn;
  timer.when = detail::time_from_now(d.count());
  rt::timer_start(&timer);
  const detail::turn::reason why = me.turn.wait(rt::wait_reason::sync_cond_wait);
  rt::timer_stop_sync(&timer);
  WARREN_SYNC_POINT();
  // A signal that came too late may be about to take us out, and looks at our turn: under this lock. As in wait.
  queue.lock.lock();
  if (why == detail::turn::timed_out && me.link.linked) queue.remove(&me);
  queue.lock.unlock();
  m.lock();
  return why == detail::turn::signalled;
}

void cond::signal() noexcept {
  cond_queue& queue = cond_queue::in(waiters_);
  rt::g* sleeper = nullptr;
  queue.lock.lock();
  while (cond_waiter* w = queue.first) {
    queue.remove(w);
    if (w->turn.take(detail::turn::signalled, &sleeper)) break;
  }
  queue.lock.unlock();
  WARREN_SYNC_POINT();
  if (sleeper != nullptr) rt::goready(sleeper);
  rt::safepoint();
}

void cond::broadcast() noexcept {
  cond_queue& queue = cond_queue::in(waiters_);
  // Readied after the lock was given up. The records may be gone by then, but goroutines that have parked and whose turn was won are ours:
  // they are linked through themselves, the last first.
  rt::g_list sleepers;
  queue.lock.lock();
  while (cond_waiter* w = queue.last) {
    queue.remove(w);
    rt::g* sleeper = nullptr;
    if (w->turn.take(detail::turn::signalled, &sleeper) && sleeper != nullptr) sleepers.push(sleeper);
  }
  queue.lock.unlock();
  while (rt::g* sleeper = sleepers.pop()) {
    WARREN_SYNC_POINT();
    rt::goready(sleeper);
  }
  rt::safepoint();
}

// Asked by programs that are built without NDEBUG, whatever this library is built with.
void cond::check_nobody_waits() noexcept {
  cond_queue& queue = cond_queue::in(waiters_);
  queue.lock.lock();
  const bool somebody = queue.first != nullptr;
  queue.lock.unlock();
  if (somebody)
    rt::fatal("cond %p is destroyed while a goroutine waits on it: broadcast, and wait for those who wait, before it goes",
              static_cast<void*>(this));
}

}  // namespace warren

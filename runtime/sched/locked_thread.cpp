// lock_os_thread: a goroutine and a thread that belong to each other.
//
// For libraries that keep state in the thread (OpenGL, COM-like interfaces, setns, seccomp, some database clients). While the lock holds,
// the goroutine runs on its M and nothing else does. When it parks, the M gives its P away and sleeps on its note (stop_locked_m). Whoever
// dequeues the goroutine cannot run it: it hands its own P to that M, wakes it and becomes idle (start_locked_m). So each wake-up costs two
// thread switches; that is the price in Go, too.
//
// A goroutine that ends while locked takes its thread with it: the thread's state is then nobody's (a namespace entered, a signal mask
// changed), and no other goroutine should find it. Not so the thread that called warren::run, which is the caller's.
//
// That thread, m0, is of this kind from the start: it runs the main goroutine until that first parks, yields or loses its P, and then
// sleeps here until the main goroutine, wherever it is by then, has ended, or has locked itself to m0 before it left and is ready again. So
// nobody else ever stands on the thread that has to return from run: a goroutine in a blocking call or a loop without a safepoint could
// not be got off it, since what it holds (a lock of malloc's, a FILE) would be lost with it, and run could not return while it goes on. The
// price is one sleeping thread, and one thread switch per run. (Go has no such case: its process exits.)
#include <mutex>

#include "runtime/os/fatal.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/scheduler.h"

namespace warren::rt {

// On a scheduler's stack, the goroutine of mp has parked, yielded or was preempted; with or without a P.
void scheduler::stop_locked_m(m* mp) noexcept {
  if (mp->current_p != nullptr) hand_off_p(release_p(mp));
  lock_.lock();
  if (exiting()) {
    lock_.unlock();
    return;
  }
  ++locked_asleep_;
  let_thread_waiter_go();
  check_dead();
  lock_.unlock();
  if (global_size() != 0) wake_p(false);
  mp->park.sleep();
  mp->park.clear();
  lock_.lock();
  --locked_asleep_;
  lock_.unlock();
  if (mp->next_p == nullptr) return;  // exiting
  acquire_p(mp, mp->next_p);
  mp->next_p = nullptr;
}

// gp was dequeued by mp and is locked to another M.
void scheduler::start_locked_m(m* mp, g* gp) noexcept {
  m* owner = gp->locked_m;
  owner->next_p = release_p(mp);
  totals_.m_wakeups.fetch_add(1, std::memory_order_relaxed);
  owner->park.wakeup();
  stop_m(mp);
}

}  // namespace warren::rt

namespace warren {

void lock_os_thread() {
  rt::m* mp = rt::rt_enter();
  rt::g* gp = mp->curg;
  if (gp->locked_count == UINT32_MAX) rt::fatal("lock_os_thread: %u calls without unlock_os_thread", gp->locked_count);
  ++gp->locked_count;
  gp->locked_m = mp;
  mp->locked_g.store(gp, std::memory_order_relaxed);
  rt::rt_leave(mp);
}

void unlock_os_thread() {
  rt::m* mp = rt::rt_enter();
  rt::g* gp = mp->curg;
  if (gp->locked_count == 0)
    rt::fatal("unlock_os_thread on goroutine %llu, which is not locked to a thread", static_cast<unsigned long long>(gp->goid));
  if (--gp->locked_count == 0) {
    gp->locked_m = nullptr;
    mp->locked_g.store(nullptr, std::memory_order_relaxed);
  }
  rt::rt_leave(mp);
}

}  // namespace warren

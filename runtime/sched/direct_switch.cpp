// From goroutine to goroutine without the scheduler's stack.
//
// A switch by way of g0 costs two changes of stack and a walk through find_runnable. But when a goroutine parks or yields while another one
// waits in the P's own queue, there is nothing to find: what is due next is known, and the parting goroutine can go there itself.
//
// What it cannot do itself is to let itself go: once its status says `waiting` or it lies in a queue, another thread may run it, and its
// registers are saved only by the switch. So whoever comes out of the switch on this thread finishes it (`resumed`): m->left names the
// goroutine, m->mcall_fn what is to be done with it, the very function that g0 would have called. It runs inside the bracket that the
// parting goroutine opened; locks that go with the wait (a channel's) are released by it. A goroutine comes out of a switch in three places
// only: at the end of mcall, at the end of switch_away, and in goroutine_entry.
//
// What the loop on g0 does beside choosing must not be put off for long: due timers of this P, the global queue at every 61st tick, a P
// that is to be given up. The bits that ask for something are looked at here, and after kMostInARow direct switches what nobody asks for: a
// timer is late by that many switches at most, 1 µs (runs of goroutines that work longer between parks are limited by the time slice, whose
// end is one of the bits). If nothing is due then, a look at it has cost less than the way through the loop.
//
// Rejected: to choose on g0 as before and spare the second switch only (it saves the cheaper half); the goroutine that was left handed over
// in registers of the switch (each architecture's assembly would need to know, for one load).
#include "runtime/sched/direct_switch.h"

#include "runtime/os/clock.h"

namespace warren::rt {

namespace {
constexpr uint32_t kMostInARow = WARREN_CAPACITY(16, 2);
}

// Is there something that only the loop does and nobody asks for by a bit?
bool scheduler::loop_is_due(const p* pp) const noexcept {
  if (must_schedule() || unused_ps_.load(std::memory_order_relaxed) != 0) return true;
  const int64_t earliest = pp->timers.earliest();
  return earliest != 0 && earliest <= nanotime();
}

// What is to run next on mp, if that can be said at once; it has been taken from the queue.
inline g* scheduler::successor(m* mp) noexcept {
  p* pp = mp->current_p;
  if (pp == nullptr || mp->curg->locked_m != nullptr || is_m0(mp)) return nullptr;  // nobody else runs there (locked_thread.cpp)
  if ((mp->revoked.load(std::memory_order_relaxed) | mp->requests.load(std::memory_order_relaxed)) != 0) return nullptr;
  if (++mp->direct_switches > kMostInARow) {
    if (loop_is_due(pp)) return nullptr;
    mp->direct_switches = 0;
  }
  if (pp->ready_stamp != 0) [[unlikely]]
    end_sample(pp);
  if (global_tick(pp)) return nullptr;
  bool inherit;
  runnable* r = pp->runq.get(&inherit);
  if (r == nullptr) return nullptr;
  g* gp = r->is_newborn ? give_stack(mp, static_cast<detail::newborn*>(r)) : static_cast<g*>(r);
  if (gp->locked_m != nullptr) [[unlikely]] {  // to another M: the loop knows what to do
    put_local(mp, gp);
    return nullptr;
  }
  if (!inherit) pp->schedtick.store(pp->schedtick.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  return gp;
}

void switch_away(g* (*fn)(m*, g*)) {
  m* mp = getm();
  mp->in_rt.store(1, std::memory_order_relaxed);
  asm volatile("" ::: "memory");
  g* gp = mp->curg;
  mp->mcall_fn = fn;
  mp->mcall_arg = nullptr;
  if (g* to = mp->sched->successor(mp)) {
    mp->left = gp;
    mp->current_p->counters.direct.add();
    begin_running(mp, to);
    switch_fiber(mp->thread, gp->stack_state, to->stack_state, false);
  } else {
    switch_fiber(mp->thread, gp->stack_state, mp->g0, false);
  }
  resumed();
}

void requeue_left(m* mp, g* gp) noexcept {
  mp->sched->put_local(mp, gp);
  mp->sched->wake_for_runnext(mp);
}

}  // namespace warren::rt

// Leaving a goroutine for the next one, and what each does when it has come out of a switch. The essay is in direct_switch.cpp.
#pragma once
#include "runtime/sched/in_rt.h"
#include "runtime/sched/scheduler.h"
#include "runtime/sched/stack_claim.h"

namespace warren::rt {

// As mcall(fn), for a goroutine that parks or yields: goes straight to the goroutine that is due next where that can be said at once, and
// fn runs on that one's stack (direct_switch.cpp). If fn then returns gp, it is queued. mp->curg tells where fn runs: it is null on g0.
void switch_away(g* (*fn)(m*, g*));

// What comes next after every switch to a goroutine, on its own stack: lets go the one that was left for it, and ends the bracket. The
// thread may be another than before the switch, so m is read anew.
void requeue_left(m* mp, g* gp) noexcept;  // it did not have to wait after all
inline void resumed() noexcept {
  m* mp = getm();
  if (g* left = mp->left; left != nullptr) {
    mp->left = nullptr;
    if (g* gp = mp->mcall_fn(mp, left); gp != nullptr) [[unlikely]]
      requeue_left(mp, gp);
  }
  rt_leave(mp);
}

// gp becomes what mp runs; the switch is up to the caller.
inline void begin_running(m* mp, g* gp) noexcept {
  if (mp->current_p != nullptr) mp->current_p->counters.scheduled.add();
  gp->mp = mp;
  gp->status.store(g_status::running, std::memory_order_relaxed);
  own_stack(gp);  // after the status: sched/stack_claim.h
  if (marking_cycle.load(std::memory_order_relaxed) != 0) [[unlikely]]
    mp->sched->stacks_scan().runs(gp);
  mp->curg = gp;
}

}  // namespace warren::rt

// Declared blocking regions: a goroutine leaves the runtime's sight without keeping its P.
//
// Entering changes one word: the P's status becomes `syscall`, and the M forgets it but for old_p. Nobody else is told. If the region is
// short, leaving takes the P back by one compare-and-swap. If it is long, sysmon (or a stop of the world) wins that compare-and-swap
// instead and gives the P to another M; the goroutine then takes an idle P or queues itself. The collector may scan the goroutine's frames
// meanwhile: that of blocking(), where the callee-saved registers were stored before any other function could change them, and those above.
// What the region's own code loads from the heap it does not see: hence no collected pointers may be picked up inside (warren/go.h).
#include "runtime/os/fatal.h"
#include "runtime/sched/fork.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/scheduler.h"
#include "runtime/sched/stack_claim.h"

namespace warren::detail {

using namespace rt;

[[gnu::noinline]] void enter_blocking(const blocking_region&) noexcept {
  g* gp = getg();
  if (gp != nullptr && gp->park_hook != nullptr) run_park_hook(gp);
  m* mp = rt_enter();
  if (mp->sched->threads_short()) [[unlikely]] {
    scheduler* s = mp->sched;
    rt_leave(mp);
    s->await_thread();
    mp = rt_enter();
  }
  gp = mp->curg;
  p* pp = mp->current_p;
  pp->counters.blocking_calls.add();
  // This frame; the caller's, which holds the region with the registers, lies above.
  gp->blocking_sp = __builtin_frame_address(0);
  if (!pp->runq.empty())
    mp->sched->wake_p(true);  // what was left to this goroutine's park by rule (5) of proc.cpp must not wait for sysmon
  gp->status.store(g_status::syscall, std::memory_order_release);  // after blocking_sp: stack_claim.h
  mp->old_p = pp;
  mp->current_p = nullptr;
  mp->cache_at_hand = nullptr;
  pp->mp.store(nullptr, std::memory_order_relaxed);
  // Release: whoever takes the P sees everything this M did with it, and the frames and registers noted above.
  pp->status.store(p_status::syscall, std::memory_order_seq_cst);
  mp->sched->p_left(pp);
  rt_leave(mp);
}

namespace {
// No P to be had by the short ways: queue the goroutine and become an idle M.
g* exit_blocking_on_g0(m* mp, g* gp) {
  gp->mp = nullptr;
  // Release: this happens without a P, perhaps while the collector looks at the goroutines. It must not see `runnable` with an older saved
  // stack pointer.
  gp->status.store(g_status::runnable, std::memory_order_release);
  return mp->sched->after_blocking(mp, gp);
}
}  // namespace

void exit_blocking(const blocking_region&) noexcept {
  m* mp = getm();
  if (mp == nullptr) [[unlikely]]
    check_not_forked();  // the region has forked, and this is the child
  mp->in_rt.store(1, std::memory_order_relaxed);
  asm volatile("" ::: "memory");
  if (mp->revoked.load(std::memory_order_relaxed) != p_kept) owner_settles(mp);  // a claim from before the region
  g* gp = mp->curg;
  p* pp = mp->old_p;
  mp->old_p = nullptr;
  p_status expected = p_status::syscall;
  if (!mp->sched->exiting() && pp->status.compare_exchange_strong(expected, p_status::running, std::memory_order_seq_cst)) {
    mp->current_p = pp;
    mp->cache_at_hand = pp->cache_at_hand;
    pp->mp.store(mp, std::memory_order_release);
    pp->syscalltick.fetch_add(1, std::memory_order_relaxed);
    pp->counters.blocking_returns_with_p.add();
    gp->status.store(g_status::running, std::memory_order_relaxed);
    own_stack(gp);  // after the status
    if (marking_cycle.load(std::memory_order_relaxed) != 0) [[unlikely]]
      mp->sched->stacks_scan().runs(gp);
    rt_leave(mp);
    safepoint();
    return;
  }
  mcall(&exit_blocking_on_g0);
}

}  // namespace warren::detail

namespace warren::rt {

// The M of pp has entered a blocking region. If the world is being stopped, the P counts as stopped; sysmon must be awake to retake it.
void scheduler::p_left(p* pp) noexcept {
  if (stopping_.load(std::memory_order_seq_cst) != 0) {
    lock_.lock();
    p_status expected = p_status::syscall;
    if (stop_wait_ > 0 && pp->status.compare_exchange_strong(expected, p_status::gcstop, std::memory_order_seq_cst)) {
      if (--stop_wait_ == 0) stop_note_.wakeup();
    }
    lock_.unlock();
  }
  if (sysmon_asleep_.load(std::memory_order_relaxed)) {
    lock_.lock();
    if (sysmon_asleep_.exchange(false, std::memory_order_relaxed)) sysmon_note_.wakeup();
    lock_.unlock();
  }
}

g* scheduler::after_blocking(m* mp, g* gp) noexcept {
  lock_.lock();
  p* pp = stopping_.load(std::memory_order_relaxed) != 0 || exiting() ? nullptr : idle_p_get();
  if (pp == nullptr) {
    put_global_locked(gp, gp, 1);
    lock_.unlock();
    wake_p(false);                         // a P may have become idle by rule (3) between our look and the queueing
    if (!takes_no_others(mp)) stop_m(mp);  // those sleep in the schedule loop
    return nullptr;
  }
  lock_.unlock();
  acquire_p(mp, pp);
  pp->schedtick.fetch_add(1, std::memory_order_relaxed);  // a new time slice, on another M's clock
  return gp;
}

}  // namespace warren::rt

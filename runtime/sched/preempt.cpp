// Taking a P away from C++ code that does not give it.
//
// Goroutines are preempted in two ways. Cooperatively: sysmon sets a request bit when a time slice is over, and every safepoint of the
// runtime looks at it. That serves nearly all code. A goroutine that calls nothing of the runtime for a slice and a millisecond more is
// one of three things, told apart by the thread's CPU clock and the kernel's state of it (sched/sysmon.cpp):
//
//   a hog       computes. A real-time signal is sent; its handler agrees to the loss of the P, notes where the goroutine is (for the
//               report) and returns. The goroutine goes on, on its thread, without a P.
//   blocked     sleeps in a system call that nobody declared. Its P is taken without a signal: a signal would make calls like usleep and
//               epoll_wait return EINTR (golang/go #38033).
//   starved     waits for a processor that other processes use. It is left alone: another thread would only lengthen the line.
//
// A goroutine without a P is as after a long system call: at its next entry into the runtime (rt_enter_slow below) it takes an idle P or
// queues itself. Goroutines are never switched in the handler. C++ code may be inside malloc, printf, a throw or the loader when the
// signal comes; on another thread it would continue with the first one's thread-local addresses in registers, and if it were merely put
// aside, whoever next wanted its lock would wait for a goroutine that waits for a P. Since it keeps running, a lock it holds is released
// as soon as the kernel lets it.
//
// Who decides. Three parties may want to move on at the same instant: the goroutine, which enters the runtime; the revoker, sysmon; a stop
// of the world, whose handler wants to hold the thread. m::revoked is the arbiter:
//
//   kept → claimed     by sysmon (the only revoker), a claim
//   claimed → kept     the owner found the claim: at a runtime entry, in the scheduler, or in the stop's handler. It keeps the P.
//                      Or sysmon withdraws, having found the owner inside the runtime.
//   claimed → taken    by the preemption handler, on the owner's thread and outside the runtime, or by sysmon after membarrier, having
//                      seen in_rt == 0 (the argument: sched/in_rt.h). From here the P is sysmon's.
//   taken → kept       by the owner when it has left the goroutine for the scheduler's stack, or taken an idle P; under scheduler::lock_,
//                      so that a stop of the world that counts goroutines without P misses none. The owner does not wait for sysmon to
//                      have noticed that the handler agreed; times_taken tells it afterwards.
//
// Each step is one compare-and-swap. mp->current_p stays what it was until the owner comes to the scheduler; it is valid inside brackets
// only, and a P object lives as long as its scheduler.
//
// A goroutine can lose its P between any two instructions outside brackets, also while it holds a channel's lock. So what is called with
// such a lock held must not wait for a P: goready then behaves as on a foreign thread, timers go to any P's heap, and gopark runs its
// commit without one. All other entries (spawn, make, blocking) queue the goroutine.
//
// Stopping the world (sched/stop.cpp) uses the same signal. A goroutine that reaches no safepoint, and every one that runs without P, is
// held in the handler until the world goes on. What it has in registers is in the signal frame, on the alternate stack, where the collector
// looks. The code it was stopped in may hold any lock, malloc's for instance. Hence two rules. Between stop and start the collector takes
// no lock that user code can hold. And while the stop is still waiting for others, which may be waiting for such a lock, nobody is held
// for long: see stop.cpp.
//
// Where membarrier is refused, a blocked goroutine keeps its P (the signal's handler could not know whether it interrupts a call).
//
// Rejected: switching in the handler, above; parking the thread in the handler until it has a P again (the same lock-holder deadlock,
// stretched to a timeout); SIGURG, which Go and others use (brpc #3118); safepoints inserted by the compiler (1 to 8 %, and never in
// other people's libraries).
#include "runtime/sched/preempt.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "runtime/os/fatal.h"
#include "runtime/os/membarrier.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/scheduler.h"

namespace warren::rt {

namespace {

constexpr int64_t kExitCheck = 100'000'000;

int the_signal = 0;
std::atomic<unsigned long long> sent{0};

void on_signal(int, siginfo_t* info, void* uc) {
  // Only what this process sent itself (tgkill). Anything else by that number is somebody's mistake.
  if (info->si_code != SI_TKILL || info->si_pid != getpid()) return;
  m* mp = getm();
  if (mp == nullptr || mp->in_rt.load(std::memory_order_relaxed) != 0) return;  // in the runtime, or between two goroutines: it will see
  const int saved_errno = errno;                                                // the interrupted code may be about to read it
  mp->sched->on_preempt_signal(mp, __builtin_frame_address(0), uc);
  errno = saved_errno;
}

}  // namespace

void install_preempt_signal() {
  if (the_signal != 0) return;
  struct sigaction action {};
  action.sa_sigaction = &on_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  sigfillset(&action.sa_mask);  // no other handler runs on a thread that is held
  int wanted = 0;
  if (const char* text = getenv("WARREN_PREEMPT_SIGNAL"); text != nullptr && *text != '\0') {
    char* end;
    const long n = strtol(text, &end, 10);
    if (*end != '\0' || n < SIGRTMIN || n > SIGRTMAX)
      fatal("WARREN_PREEMPT_SIGNAL=%s: want a real-time signal, %d to %d", text, SIGRTMIN, SIGRTMAX);
    wanted = static_cast<int>(n);
  }
  // The first real-time signals are the favourites of other libraries.
  for (int s = wanted != 0 ? wanted : SIGRTMIN + 6; s <= SIGRTMAX; ++s) {
    struct sigaction before {};
    if (sigaction(s, nullptr, &before) != 0 || (before.sa_flags & SA_SIGINFO) != 0 || before.sa_handler != SIG_DFL) {
      if (wanted != 0) fatal("WARREN_PREEMPT_SIGNAL=%d is in use: another handler is installed for it; choose another", wanted);
      continue;
    }
    if (sigaction(s, &action, nullptr) == 0) {
      the_signal = s;
      return;
    }
  }
  fatal("no real-time signal from %d to %d is free for preemption: every one has a handler; set WARREN_PREEMPT_SIGNAL", SIGRTMIN + 6,
        SIGRTMAX);
}

void unblock_preempt_signal() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, the_signal);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void send_preempt_signal(const m* mp) noexcept {
  sent.fetch_add(1, std::memory_order_relaxed);
  syscall(SYS_tgkill, getpid(), mp->tid.load(std::memory_order_relaxed), the_signal);
}

unsigned long long preempt_signals_sent() noexcept { return sent.load(std::memory_order_relaxed); }

// ---- the owner's side ------------------------------------------------------------------------------------------------------------------

bool owner_settles(m* mp) noexcept {
  uint32_t was = p_claimed;
  return !mp->revoked.compare_exchange_strong(was, p_kept, std::memory_order_acq_rel, std::memory_order_acquire) && was == p_taken;
}

// In the handler: on the thread of mp, on its alternate stack, the goroutine outside the runtime.
void scheduler::on_preempt_signal(m* mp, const void* frame, const void* uc) noexcept {
  g* gp = mp->curg;
  if (gp == nullptr) return;
  // Handlers run on the alternate stack, except under ThreadSanitizer. There they leave the dead registers of the moment on the goroutine's
  // stack, which may hold anybody's pointers.
  if (!mp->signal_stack.contains(frame)) gp->exact = 0;
  // In the middle of another handler: the goroutine's registers are in that one's frame. Whoever sent the signal sends it again.
  if (mp->signal_stack.contains(interrupted_sp(uc))) return;
  if (mp->sampled.load(std::memory_order_relaxed) == 1) {
    take_sample(mp->sample, gp, uc);
    mp->sampled.store(2, std::memory_order_release);
  }
  if (stopping_.load(std::memory_order_seq_cst) != 0 && !exiting()) {
    hold(mp, frame, uc);
  } else {
    // The P may not be the one that sysmon saw: it may have been left in a blocking region, or given to another M since.
    uint32_t was = p_claimed;
    if (mp->current_p != nullptr && mp->current_p == mp->claimed_p.load(std::memory_order_acquire))
      mp->revoked.compare_exchange_strong(was, p_taken, std::memory_order_acq_rel);
  }
  revoke_note_.wakeup();
}

// A stop cannot be over before this thread was held: it counts the P, or looks at `taken`. So the world is still being stopped here.
void scheduler::hold(m* mp, const void* frame, const void* uc) noexcept {
  bool with_p = false;
  if (!owner_settles(mp)) {
    p* pp = mp->current_p;
    if (pp == nullptr) return;  // in a blocking region
    p_status running = p_status::running;
    // Fails for the one who stops the world.
    if (!pp->status.compare_exchange_strong(running, p_status::gcstop, std::memory_order_seq_cst)) return;
    mp->held_with_p = with_p = true;
  }
  // Handlers run on the alternate stack. Except under ThreadSanitizer, which calls them later, from a function it intercepts: then this
  // frame is on the goroutine's stack, and what the registers held was saved between here and there.
  __builtin_unwind_init();
  const void* const here = __builtin_alloca(sizeof(void*));
  mp->held_sp = mp->signal_stack.contains(here) ? interrupted_sp(uc) : here;
  mp->held_frame = frame;
  g* gp = mp->curg;
  gp->holder.store(mp, std::memory_order_relaxed);
  mp->held.store(1, std::memory_order_seq_cst);
  // with_p: by now let_go may have cleared the flag, and counted the P as running again.
  if (with_p) stop_wait_.fetch_sub(1, std::memory_order_seq_cst);
  stop_note_.wakeup();
  // The run may end while we come here: whoever let the others go has not seen us then.
  while (mp->held.load(std::memory_order_acquire) == 1 && !exiting()) futex_wait(&mp->held, 1, kExitCheck);
  mp->held.store(0, std::memory_order_relaxed);
  gp->holder.store(nullptr, std::memory_order_relaxed);
}

m* regain_p(m* mp) {
  struct on_g0 {
    static g* requeue(m* mp, g* gp) {
      gp->mp = nullptr;
      gp->status.store(g_status::runnable, std::memory_order_release);  // as in exit_blocking_on_g0
      return mp->sched->after_blocking(mp, gp);
    }
  };
  while (owner_settles(mp)) {
    if (mp->sched->take_idle_p(mp)) break;
    mcall(&on_g0::requeue);
    mp = getm();
    mp->in_rt.store(1, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  return mp;
}

// A goroutine that lost its P takes an idle one without leaving its thread.
bool scheduler::take_idle_p(m* mp) noexcept {
  lock_.lock();
  p* pp = stopping_.load(std::memory_order_relaxed) != 0 || exiting() ? nullptr : idle_p_get();
  if (pp != nullptr) {
    acquire_p(mp, pp);
    pp->schedtick.fetch_add(1, std::memory_order_relaxed);  // a new time slice, on another M's clock
    end_revocation(mp);
  }
  lock_.unlock();
  return pp != nullptr;
}

void scheduler::drop_revoked_p(m* mp) noexcept {
  if (!owner_settles(mp)) return;
  lock_.lock();
  mp->current_p = nullptr;
  mp->cache_at_hand = nullptr;
  end_revocation(mp);
  const bool stopping = stopping_.load(std::memory_order_relaxed) != 0;
  lock_.unlock();
  if (stopping) stop_note_.wakeup();  // it may have waited for this goroutine
}

// REQUIRES: lock_.
void scheduler::end_revocation(m* mp) noexcept {
  if (mp->counts_as_hog) {
    mp->counts_as_hog = false;
    hogs_.fetch_sub(1, std::memory_order_relaxed);
  }
  mp->requests.fetch_and(~uint32_t{request_preempt}, std::memory_order_relaxed);
  mp->times_taken.store(mp->times_taken.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  mp->revoked.store(p_kept, std::memory_order_release);
}

// ---- the revoker's side: sysmon
// ----------------------------------------------------------------------------------------------------------

// Takes pp from mp. by_signal: the handler is to agree; otherwise mp sleeps in the kernel and is not disturbed. False: the goroutine was
// in the runtime, or has moved on.
bool scheduler::revoke(p* pp, m* mp, uint32_t tick, bool by_signal) noexcept {
  if (!by_signal && !has_membarrier) return false;
  mp->claimed_p.store(pp, std::memory_order_relaxed);  // released by the claim
  const uint32_t taken_before = mp->times_taken.load(std::memory_order_relaxed);
  uint32_t kept = p_kept;
  if (!mp->revoked.compare_exchange_strong(kept, p_claimed, std::memory_order_seq_cst)) return false;
  mp->requests.fetch_or(request_preempt, std::memory_order_relaxed);  // so that a safepoint, too, leads to the queue
  if (by_signal) {
    constexpr int64_t kPatience = 1'000'000;  // the thread may wait for a processor; and some block signals
    mp->sampled.store(1, std::memory_order_relaxed);
    revoke_note_.clear();
    send_preempt_signal(mp);
    revoke_note_.sleep(kPatience);
  }
  if (mp->revoked.load(std::memory_order_acquire) != p_taken) {
    if (has_membarrier) membarrier();
    uint32_t claimed = p_claimed;
    // in_rt == 0: the owner meets the claim at its next entry, and the exchange below decides who was first. What it did inside brackets
    // happened before. Whether it is still the same time slice on the same P is then settled, too.
    const bool ours = has_membarrier && mp->in_rt.load(std::memory_order_acquire) == 0 && pp->mp.load(std::memory_order_acquire) == mp &&
                      pp->status.load(std::memory_order_acquire) == p_status::running &&
                      pp->schedtick.load(std::memory_order_relaxed) == tick && !stopping_.load(std::memory_order_seq_cst);
    if (!mp->revoked.compare_exchange_strong(claimed, ours ? p_taken : p_kept, std::memory_order_acq_rel)) {
      // The owner was first. Unless the handler had agreed, and the goroutine is back in the scheduler already.
      if (claimed != p_taken && mp->times_taken.load(std::memory_order_relaxed) == taken_before) return false;
    } else if (!ours) {
      return false;
    }
  }
  // A resize may have taken the P from a held goroutine by the same word: then it has set pp->mp to null before.
  p_status running = p_status::running;
  if (pp->mp.load(std::memory_order_acquire) != mp ||
      !pp->status.compare_exchange_strong(running, p_status::idle, std::memory_order_seq_cst))
    return false;
  pp->mp.store(nullptr, std::memory_order_relaxed);
  return true;
}

}  // namespace warren::rt

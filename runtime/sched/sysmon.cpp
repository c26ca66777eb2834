// sysmon: a thread without a P that looks after those who cannot look after themselves.
//
// It retakes Ps from declared blocking regions that last, asks goroutines off whose time slice is over, takes the P from those that do not
// listen (preempt.cpp), polls the network if nobody did for 10 ms, gives memory of stacks and of the heap back to the system, and starts a
// collection when none ran for two minutes. It sleeps 20 µs at first, doubles that up to 10 ms while there is nothing to do (5 ms while
// every P is busy, and less when a P looks suspicious), and stops altogether when every P has been idle for a while.
//
// Hogs, sleepers and the starved. Suspicious is a P that has begun no time slice for a millisecond, when no other P is idle to do what
// waits. From its M's CPU clock (0.6 µs), read at two looks a millisecond or more apart:
//     computing at least a quarter of the time   a hog. Left alone until its slice is over and it was asked; a millisecond later it loses
//                                                the P.
//     else, asleep by the kernel's word (5 µs)   blocked in a call nobody declared: it loses the P now. 2 to 3 ms have passed, so short
//                                                calls cost nobody anything.
//     else                                       it waits for a processor. Left alone.
#include <time.h>

#include <algorithm>
#include <mutex>

#include "runtime/diag/sigquit.h"
#include "runtime/os/clock.h"
#include "runtime/os/thread_probe.h"
#include "runtime/sched/hooks.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/maxprocs.h"
#include "runtime/sched/preempt.h"
#include "runtime/sched/report.h"
#include "runtime/sched/scheduler.h"

namespace warren::rt {

scheduler_hooks sched_hooks;

namespace {
constexpr int64_t kSuspicion = 1'000'000;  // ns without a new time slice
constexpr int64_t kGrace = 1'000'000;      // ns from the cooperative request to the forced one
constexpr int64_t kMaxSleepBusy = 5'000'000;
constexpr int64_t kQuotaEvery = 1'000'000'000;
constexpr int64_t kCapReportEvery = 10'000'000'000;
constexpr int64_t kMinSleep = 20'000;
constexpr int64_t kMaxSleep = 10'000'000;
constexpr int kRoundsAtMinSleep = 50;  // 1 ms before it begins to double
constexpr int64_t kPollEvery = 10'000'000;
constexpr int kIdleRoundsToSleep = 10;  // 100 ms of idleness before it stops looking: waking it costs a futex call at the next request
constexpr int64_t kForcedGcCheck = 60'000'000'000;  // half of the two minutes, while everything sleeps

void sleep_ns(int64_t ns) {
  timespec ts{ns / 1'000'000'000, ns % 1'000'000'000};
  nanosleep(&ts, nullptr);
}
}  // namespace

void* scheduler::sysmon_thread(void* arg) {
  static_cast<scheduler*>(arg)->sysmon_loop();
  return nullptr;
}

// Looks at every P. Returns how soon to look again.
int64_t scheduler::retake(int64_t now, bool* any) noexcept {
  int64_t again = kMaxSleep;
  for (const auto& owned : all_p_) {
    p* pp = owned.get();
    const p_status s = pp->status.load(std::memory_order_acquire);
    if (s == p_status::running) {
      const int64_t soon = look_at_running(pp, now, any);
      if (soon < again) again = soon;
    } else if (s == p_status::syscall) {
      const uint32_t tick = pp->syscalltick.load(std::memory_order_relaxed);
      if (tick != pp->sysmon_syscalltick) {  // one look at least, 20 µs: most regions end by themselves
        pp->sysmon_syscalltick = tick;
        pp->sysmon_syscall_when = now;
        continue;
      }
      // Nothing waits for a P: leave it where it is warm, but not for ever, or sysmon could never sleep.
      if (pp->runq.empty() && global_size() == 0 && spinning() + idle_p_count() > 0 && now - pp->sysmon_syscall_when < time_slice_)
        continue;
      p_status expected = p_status::syscall;
      if (!pp->status.compare_exchange_strong(expected, p_status::idle, std::memory_order_seq_cst)) continue;
      pp->syscalltick.fetch_add(1, std::memory_order_relaxed);
      totals_.retakes.fetch_add(1, std::memory_order_relaxed);
      *any = true;
      hand_off_p(pp);
    }
  }
  return again;
}

int64_t scheduler::look_at_running(p* pp, int64_t now, bool* any) noexcept {
  const bool others_idle = spinning() + idle_p_count() > 0;
  const int64_t busy_sleep = others_idle ? kMaxSleep : time_slice_ < kMaxSleepBusy ? time_slice_ : kMaxSleepBusy;
  const uint32_t tick = pp->schedtick.load(std::memory_order_relaxed);
  if (tick != pp->sysmon_schedtick) {
    pp->sysmon_schedtick = tick;
    pp->sysmon_sched_when = now;
    pp->sysmon_cpu_when = 0;
    return busy_sleep;
  }
  // What waits there has waited since the last look: the safety net of rule (5) in proc.cpp.
  if (!pp->runq.empty() || global_size() != 0) wake_p(false);
  const int64_t age = now - pp->sysmon_sched_when;
  if (age >= time_slice_) ask(pp, request_preempt);
  m* mp = pp->mp.load(std::memory_order_acquire);
  const int64_t suspicion = time_slice_ < kSuspicion ? time_slice_ : kSuspicion;
  if (others_idle || mp == nullptr || stopping_.load(std::memory_order_relaxed) != 0) return busy_sleep;
  if (age < suspicion) return suspicion - age;

  const int64_t cpu = read_cpu_clock(mp->cpu_clock);
  if (pp->sysmon_cpu_when == 0 || cpu < 0) {
    pp->sysmon_cpu_when = now;
    pp->sysmon_cpu = cpu;
    return suspicion;
  }
  const int64_t window = now - pp->sysmon_cpu_when;
  if (window < suspicion) return suspicion - window;
  const int64_t used = cpu - pp->sysmon_cpu;
  pp->sysmon_cpu_when = now;
  pp->sysmon_cpu = cpu;
  if (used * 4 >= window) {
    const int64_t grace = time_slice_ < kGrace ? time_slice_ : kGrace;
    if (age < time_slice_ + grace) return time_slice_ + grace - age;
    *any = take_from_hog(pp, mp, tick, age) || *any;
  } else if (read_kernel_state(mp->tid) == kernel_state::blocked) {
    *any = take_from_blocked(pp, mp, tick, age) || *any;
  }
  return suspicion;
}

bool scheduler::take_from_hog(p* pp, m* mp, uint32_t tick, int64_t age) noexcept {
  if (hogs_.load(std::memory_order_relaxed) >= max_hogs_) {
    const int64_t now = nanotime();
    if (now - last_cap_report_ < kCapReportEvery) return false;
    mp->sampled.store(1, std::memory_order_relaxed);
    revoke_note_.clear();
    send_preempt_signal(mp);
    revoke_note_.sleep(kGrace);
    if (mp->sampled.load(std::memory_order_acquire) != 2) return false;  // at the next look, then
    last_cap_report_ = now;
    report_too_many_hogs(mp->sample, age, max_hogs_);
    return false;
  }
  mp->sampled.store(0, std::memory_order_relaxed);
  if (!revoke(pp, mp, tick, true)) return false;
  lock_.lock();
  if (mp->revoked.load(std::memory_order_relaxed) == p_taken) {  // it may have come to the scheduler already
    mp->counts_as_hog = true;
    hogs_.fetch_add(1, std::memory_order_relaxed);
  }
  lock_.unlock();
  totals_.hog_revocations.fetch_add(1, std::memory_order_relaxed);
  if (mp->sampled.load(std::memory_order_acquire) == 2) report_hog(mp->sample, age);
  hand_off_p(pp);
  return true;
}

bool scheduler::take_from_blocked(p* pp, m* mp, uint32_t tick, int64_t age) noexcept {
  const long call = read_system_call(mp->tid);  // before: afterwards it may have woken up
  uint64_t goid;
  const void* spawn_pc;
  peek_goroutine(mp, &goid, &spawn_pc);
  if (!revoke(pp, mp, tick, false)) return false;
  totals_.blocked_revocations.fetch_add(1, std::memory_order_relaxed);
  hand_off_p(pp);
  report_blocked(goid, spawn_pc, call, age);
  return true;
}

// Who runs on mp, for a report. The M may switch meanwhile: then it is somebody who ran there a moment ago. Memory of a g stays readable.
__attribute__((no_sanitize("thread"))) void scheduler::peek_goroutine(const m* mp, uint64_t* goid, const void** spawn_pc) noexcept {
  const g* gp = mp->curg;
  *goid = gp == nullptr ? 0 : gp->goid;
  *spawn_pc = gp == nullptr ? nullptr : gp->spawn_pc;
}

void scheduler::sysmon_loop() noexcept {
  int64_t delay = kMinSleep;
  int quiet = 0;
  int idle_rounds = 0;
  int64_t memory_rest = INT64_MAX;  // until the heap has more to give back
  while (!exiting()) {
    sleep_ns(delay);
    int64_t now = nanotime();

    const bool all_idle = idle_p_count() == all_p_.in_use() || stopping_.load(std::memory_order_relaxed) != 0;
    idle_rounds = all_idle ? idle_rounds + 1 : 0;
    if (idle_rounds >= kIdleRoundsToSleep && delay >= kMaxSleepBusy) {
      lock_.lock();
      const bool still = !exiting() && (idle_p_count_.load(std::memory_order_relaxed) == all_p_.in_use() ||
                                        stopping_.load(std::memory_order_relaxed) != 0);
      if (still) {
        sysmon_note_.clear();
        sysmon_asleep_.store(true, std::memory_order_relaxed);
      }
      lock_.unlock();
      if (still) {
        std::atomic_thread_fence(std::memory_order_seq_cst);  // a signal that came before the note was cleared is seen here
        if (!quit_requested()) sysmon_note_.sleep(std::min({kForcedGcCheck, scavenger_.may_sleep(now), memory_rest}));
        lock_.lock();
        sysmon_asleep_.store(false, std::memory_order_relaxed);
        lock_.unlock();
        idle_rounds = 0;
        // Whatever begins now has not lasted yet: no need to look every 20 µs at once.
        quiet = kRoundsAtMinSleep;
        delay = kMinSleep * 50;
        now = nanotime();
      }
    }

    if (quit_requested()) dump_and_quit(*this);

    bool any = false;
    netpoller* poller = poller_.load(std::memory_order_acquire);
    int64_t last = last_poll_.load(std::memory_order_seq_cst);
    if (last != 0 && last + kPollEvery < now && poller->waiters() > 0) {
      last_poll_.compare_exchange_strong(last, now, std::memory_order_seq_cst);
      sysmon_holds_.store(true, std::memory_order_seq_cst);  // what is in `list` is in no queue: check_dead must not overlook it
      runnable_list list = poller->poll(0);
      if (!list.empty()) {
        totals_.sysmon_polls.fetch_add(1, std::memory_order_relaxed);
        inject(nullptr, list);
      }
      sysmon_holds_.store(false, std::memory_order_seq_cst);
    }
    const int64_t again = retake(now, &any);
    scavenger_.tick(now);
    memory_rest = sched_hooks.memory_tick != nullptr ? sched_hooks.memory_tick(now) : own_page_scavenger_.tick(now);
    if (sched_hooks.gc_is_due != nullptr && sched_hooks.gc_is_due()) gc_wanted_.store(true, std::memory_order_release);
    if (follows_quota_.load(std::memory_order_relaxed) && now - quota_read_at_ >= kQuotaEvery) {
      quota_read_at_ = now;
      const auto n = static_cast<uint32_t>(usable_processors());
      if (n != all_p_.in_use()) procs_wanted_.store(n, std::memory_order_release);
    }
    if (gc_wanted_.load(std::memory_order_relaxed) || procs_wanted_.load(std::memory_order_relaxed) != 0) {
      lock_.lock();
      g* helper = helper_;
      helper_ = nullptr;
      lock_.unlock();
      if (helper != nullptr) ready(nullptr, helper);
    }

    if (any) {
      quiet = 0;
      delay = kMinSleep;
    } else if (++quiet > kRoundsAtMinSleep) {
      delay = delay * 2 < kMaxSleep ? delay * 2 : kMaxSleep;
    }
    if (delay > again) delay = again;
  }
}

// The goroutine that does what sysmon wants and cannot do without a P.
void scheduler::helper_loop() {
  for (;;) {
    struct wait {
      static bool publish(g* gp, void* arg) {
        auto* s = static_cast<scheduler*>(arg);
        std::lock_guard guard(s->lock_);
        s->helper_ = gp;
        return true;
      }
    };
    gopark(&wait::publish, this, wait_reason::gc);
    if (gc_wanted_.exchange(false, std::memory_order_acquire) && sched_hooks.forced_gc != nullptr) sched_hooks.forced_gc();
    if (const uint32_t n = procs_wanted_.exchange(0, std::memory_order_acquire)) resize(n);
  }
}

}  // namespace warren::rt

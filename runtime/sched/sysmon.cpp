// sysmon: a thread without a P that looks after those who cannot look after themselves.
//
// It retakes Ps from declared blocking regions that last, asks goroutines off whose time slice is over (cooperatively), polls the network
// if nobody did for 10 ms, and starts a collection when none ran for two minutes. It sleeps 20 µs at first, doubles that up to 10 ms while
// there is nothing to do, and stops altogether when every P has been idle for a while.
#include <time.h>

#include <algorithm>
#include <mutex>

#include "runtime/diag/sigquit.h"
#include "runtime/os/clock.h"
#include "runtime/sched/hooks.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/scheduler.h"

namespace warren::rt {

scheduler_hooks sched_hooks;

namespace {
constexpr int64_t kTimeSlice = 10'000'000;  // Go's forcePreemptNS
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

// Takes Ps from blocking regions, and asks for those of exhausted time slices.
void scheduler::retake(int64_t now, bool* any) noexcept {
  for (const auto& owned : all_p_) {
    p* pp = owned.get();
    const p_status s = pp->status.load(std::memory_order_acquire);
    if (s == p_status::running) {
      const uint32_t tick = pp->schedtick.load(std::memory_order_relaxed);
      if (tick != pp->sysmon_schedtick) {
        pp->sysmon_schedtick = tick;
        pp->sysmon_sched_when = now;
        continue;
      }
      if (!pp->runq.empty()) wake_p(false);  // what waits there has waited since the last look: the safety net of rule (5) in proc.cpp
      if (now - pp->sysmon_sched_when >= kTimeSlice) {
        ask(pp, request_preempt);
      }
    } else if (s == p_status::syscall) {
      const uint32_t tick = pp->syscalltick.load(std::memory_order_relaxed);
      if (tick != pp->sysmon_syscalltick) {  // one look at least, 20 µs: most regions end by themselves
        pp->sysmon_syscalltick = tick;
        pp->sysmon_syscall_when = now;
        continue;
      }
      // Nothing waits for a P: leave it where it is warm, but not for ever, or sysmon could never sleep.
      if (pp->runq.empty() && global_size() == 0 && spinning() + idle_p_count() > 0 && now - pp->sysmon_syscall_when < kTimeSlice) continue;
      p_status expected = p_status::syscall;
      if (!pp->status.compare_exchange_strong(expected, p_status::idle, std::memory_order_seq_cst)) continue;
      pp->syscalltick.fetch_add(1, std::memory_order_relaxed);
      totals_.retakes.fetch_add(1, std::memory_order_relaxed);
      *any = true;
      hand_off_p(pp);
    }
  }
}

void scheduler::sysmon_loop() noexcept {
  int64_t delay = kMinSleep;
  int quiet = 0;
  int idle_rounds = 0;
  while (!exiting()) {
    sleep_ns(delay);
    int64_t now = nanotime();

    const bool all_idle = idle_p_count() == all_p_.size() || stopping_.load(std::memory_order_relaxed) != 0;
    idle_rounds = all_idle ? idle_rounds + 1 : 0;
    if (idle_rounds >= kIdleRoundsToSleep && delay == kMaxSleep) {
      lock_.lock();
      const bool still =
          !exiting() && (idle_p_count_.load(std::memory_order_relaxed) == all_p_.size() || stopping_.load(std::memory_order_relaxed) != 0);
      if (still) {
        sysmon_note_.clear();
        sysmon_asleep_.store(true, std::memory_order_relaxed);
      }
      lock_.unlock();
      if (still) {
        std::atomic_thread_fence(std::memory_order_seq_cst);  // a signal that came before the note was cleared is seen here
        if (!quit_requested()) sysmon_note_.sleep(std::min(kForcedGcCheck, scavenger_.may_sleep(now)));
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
      g_list list = poller->poll(0);
      if (!list.empty()) {
        totals_.sysmon_polls.fetch_add(1, std::memory_order_relaxed);
        inject(nullptr, list);
      }
      sysmon_holds_.store(false, std::memory_order_seq_cst);
    }
    retake(now, &any);
    scavenger_.tick(now);
    if (sched_hooks.gc_is_due != nullptr && sched_hooks.gc_is_due()) {
      lock_.lock();
      g* helper = gc_helper_;
      gc_helper_ = nullptr;
      lock_.unlock();
      if (helper != nullptr) ready(nullptr, helper);
    }

    if (any) {
      quiet = 0;
      delay = kMinSleep;
    } else if (++quiet > kRoundsAtMinSleep) {
      delay = delay * 2 < kMaxSleep ? delay * 2 : kMaxSleep;
    }
  }
  // The first request to leave can miss an M that is just coming out of a blocking region: ask until m0 has left its loop (the others are
  // asked by it).
  while (!m0_left_.load(std::memory_order_acquire)) {
    for (const auto& pp : all_p_) ask(pp.get(), request_stop);
    wake_all_idle();
    sleep_ns(1'000'000);
  }
}

// The goroutine that waits for sysmon to want a collection.
void scheduler::forced_gc_loop() {
  for (;;) {
    struct wait {
      static bool publish(g* gp, void* arg) {
        auto* s = static_cast<scheduler*>(arg);
        std::lock_guard guard(s->lock_);
        s->gc_helper_ = gp;
        return true;
      }
    };
    gopark(&wait::publish, this, wait_reason::gc);
    if (sched_hooks.forced_gc != nullptr) sched_hooks.forced_gc();
  }
}

}  // namespace warren::rt

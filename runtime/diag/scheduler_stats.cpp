#include "runtime/sched/scheduler.h"
#include "warren/stats.h"

namespace warren {

scheduler_stats read_scheduler_stats() noexcept {
  scheduler_stats out;
  const rt::scheduler::guest s;
  if (!s) return out;
  out.goroutines = s->goroutine_count();
  out.maxprocs = static_cast<uint32_t>(s->procs());
  out.idle_procs = s->idle_p_count();
  out.threads = s->live_ms();
  out.spinning_threads = s->spinning();
  out.global_queue = s->global_size();
  const rt::stack_arena::statistics stacks = s->pool().stacks().stats();
  out.stacks_unguarded = stacks.slots_unguarded;
  out.stacks_emptied = stacks.given_back;
  out.stacks_cut = s->scavenger().stacks_cut();
  for (int cls = 0; cls < rt::kStackClasses; ++cls) {
    const size_t size = rt::stack_slot_size(cls);
    out.stack_slots += stacks.slots_made[cls];
    out.stacks_empty += stacks.slots_released[cls];
    out.stack_bytes += stacks.slots_made[cls] * size;
    out.stack_idle_bytes += (stacks.slots_idle[cls] + stacks.slots_released[cls]) * size;
    out.stack_released_bytes += stacks.slots_released[cls] * size;
  }
  out.stack_inuse_bytes = out.stack_bytes - out.stack_idle_bytes;
  out.goroutines_created = s->spare_p()->counters.spawned.read();
  for (const auto& pp : s->all_p()) {
    const rt::p_counters& c = pp->counters;
    out.local_queues += pp->runq.size();
    out.goroutines_created += c.spawned.read();
    out.switches += c.scheduled.read();
    out.direct_switches += c.direct.read();
    out.parks += c.parks.read();
    out.readies += c.readies.read();
    out.yields += c.yields.read();
    out.preemptions += c.preemptions.read();
    out.global_gets += c.global_gets.read();
    out.spills += c.spills.read();
    out.steal_attempts += c.steal_attempts.read();
    out.steals += c.steals.read();
    out.stolen += c.stolen.read();
    out.timers_fired += c.timers_fired.read();
    out.netpoll_ready += c.netpoll_ready.read();
    out.blocking_calls += c.blocking_calls.read();
    out.stacks_reused += c.stacks_reused.read();
    out.stacks_taken += c.stacks_taken.read();
  }
  const rt::scheduler::totals& t = s->counts();
  out.foreign_readies = t.foreign_readies.load(std::memory_order_relaxed);
  out.netpoll_wakeups = t.netpoll_wakeups.load(std::memory_order_relaxed);
  out.retakes = t.retakes.load(std::memory_order_relaxed);
  out.handoffs = t.handoffs.load(std::memory_order_relaxed);
  out.thread_wakeups = t.m_wakeups.load(std::memory_order_relaxed);
  out.hogs_revoked = t.hog_revocations.load(std::memory_order_relaxed);
  out.blocked_revoked = t.blocked_revocations.load(std::memory_order_relaxed);
  out.world_stop_retries = t.stop_retries.load(std::memory_order_relaxed);
  out.hogs = s->hogs();
  out.thread_waiters = s->thread_waiters();
  out.thread_waits = t.thread_waits.load(std::memory_order_relaxed);
  out.threads_retired = t.m_retirements.load(std::memory_order_relaxed);
  out.world_stops = t.stops.load(std::memory_order_relaxed);
  return out;
}

}  // namespace warren

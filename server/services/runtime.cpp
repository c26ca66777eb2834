#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include <warren/chan.h>
#include <warren/gc.h>
#include <warren/runtime_service.h>
#include <warren/select.h>
#include <warren/stats.h>
#include <warren/sync.h>

#include "server/services/broadcast.h"
#include "server/services/caller_gone.h"

namespace warren::grpc {

namespace runtime_v1 = ::warren::v1;

namespace {

using std::chrono::nanoseconds;

// A stream that is asked for more often than this costs more than it tells.
constexpr nanoseconds shortest_interval = std::chrono::milliseconds(10);
constexpr nanoseconds default_interval = std::chrono::seconds(1);

void set(google::protobuf::Duration* d, int64_t ns) {
  d->set_seconds(ns / 1'000'000'000);
  d->set_nanos(static_cast<int32_t>(ns % 1'000'000'000));
}

void set(google::protobuf::Timestamp* t, int64_t unix_ns) {
  t->set_seconds(unix_ns / 1'000'000'000);
  t->set_nanos(static_cast<int32_t>(unix_ns % 1'000'000'000));
}

// Saturates. Durations of protobuf reach ten thousand years, ours 292.
nanoseconds duration_of(const google::protobuf::Duration& d) {
  constexpr int64_t most = std::numeric_limits<int64_t>::max() / 1'000'000'000 - 1;
  return nanoseconds(std::clamp<int64_t>(d.seconds(), -most, most) * 1'000'000'000 + d.nanos());
}

runtime_v1::Trigger trigger_of(gc_trigger t) {
  switch (t) {
    case gc_trigger::background: return runtime_v1::TRIGGER_BACKGROUND;
    case gc_trigger::manual: return runtime_v1::TRIGGER_MANUAL;
    case gc_trigger::tiny: return runtime_v1::TRIGGER_TINY;
    case gc_trigger::small: return runtime_v1::TRIGGER_SMALL;
    case gc_trigger::large: return runtime_v1::TRIGGER_LARGE;
  }
  return runtime_v1::TRIGGER_UNSPECIFIED;
}

void fill(runtime_v1::SchedulerStats& out, const scheduler_stats& s) {
  out.set_goroutines(s.goroutines);
  out.set_ps(s.maxprocs);
  out.set_idle_ps(s.idle_procs);
  out.set_ms(s.threads);
  out.set_spinning_ms(s.spinning_threads);
  out.set_global_queue(s.global_queue);
  out.set_local_queues(s.local_queues);
  out.set_stack_slots(s.stack_slots);
  out.set_stack_bytes(s.stack_bytes);
  out.set_goroutines_created(s.goroutines_created);
  out.set_switches(s.switches);
  out.set_direct_switches(s.direct_switches);
  out.set_parks(s.parks);
  out.set_readies(s.readies);
  out.set_foreign_readies(s.foreign_readies);
  out.set_yields(s.yields);
  out.set_preemptions(s.preemptions);
  out.set_global_gets(s.global_gets);
  out.set_spills(s.spills);
  out.set_steal_attempts(s.steal_attempts);
  out.set_steals(s.steals);
  out.set_stolen(s.stolen);
  out.set_timers_fired(s.timers_fired);
  out.set_netpoll_ready(s.netpoll_ready);
  out.set_netpoll_wakeups(s.netpoll_wakeups);
  out.set_blocking_calls(s.blocking_calls);
  out.set_retakes(s.retakes);
  out.set_handoffs(s.handoffs);
  out.set_thread_wakeups(s.thread_wakeups);
  out.set_world_stops(s.world_stops);
  out.set_stacks_reused(s.stacks_reused);
  out.set_stacks_taken(s.stacks_taken);
}

void fill(runtime_v1::HeapStats& out, const heap_stats& h) {
  out.set_bytes(h.bytes);
  out.set_objects(h.objects);
  out.set_mallocs(h.mallocs);
  out.set_frees(h.frees);
  out.set_tiny_mallocs(h.tiny_mallocs);
  out.set_total_bytes(h.total_bytes);
  out.set_span_bytes(h.span_bytes);
  out.set_mapped_bytes(h.mapped_bytes);
  out.set_reserved_bytes(h.reserved_bytes);
  out.set_metadata_bytes(h.metadata_bytes);
  out.set_tiny_hits(h.tiny_hits);
  out.set_mcache_hits(h.mcache_hits);
  out.set_mcentral_hits(h.mcentral_hits);
  out.set_page_cache_hits(h.page_cache_hits);
  out.set_mheap_hits(h.mheap_hits);
  out.set_heap_grows(h.heap_grows);
  out.set_large_mallocs(h.large_mallocs);
}

void fill(runtime_v1::CollectorStats& out, const gc_stats& c) {
  out.set_collections(c.cycles);
  for (size_t i = 0; i < kGcTriggers; i++) {
    (*out.mutable_collections_by_trigger())[to_string(static_cast<gc_trigger>(i))] = c.by_trigger[i];
  }
  set(out.mutable_pause_last(), c.pause_last_ns);
  set(out.mutable_pause_max(), c.pause_max_ns);
  set(out.mutable_pause_total(), c.pause_total_ns);
  if (c.last_end_unix_ns != 0) set(out.mutable_last_end(), c.last_end_unix_ns);
  out.set_next_bytes(c.next_bytes);
  out.set_percent(c.percent);
  out.set_finalizers_run(c.finalizers_run);
  out.set_finalizers_waiting(c.finalizers_waiting);
}

void fill(runtime_v1::Collection& out, const gc_report& r) {
  out.set_cycle(r.cycle);
  out.set_trigger(trigger_of(r.trigger));
  out.set_bytes_before(r.bytes_before);
  out.set_objects_before(r.objects_before);
  out.set_bytes_marked(r.bytes_marked);
  out.set_objects_marked(r.objects_marked);
  out.set_bytes_freed(r.bytes_freed);
  out.set_objects_freed(r.objects_freed);
  out.set_bytes_after(r.bytes_after);
  out.set_objects_after(r.objects_after);
  out.set_stack_bytes(r.stack_bytes);
  out.set_root_words(r.root_words);
  out.set_finalizers_queued(r.finalizers_queued);
  set(out.mutable_stop(), r.stop_ns);
  set(out.mutable_sweep_termination(), r.sweep_termination_ns);
  set(out.mutable_mark(), r.mark_ns);
  set(out.mutable_mark_termination(), r.mark_termination_ns);
  set(out.mutable_pause(), r.pause_ns);
  set(out.mutable_sweep(), r.sweep_ns);
}

runtime_v1::Stats stats_now() {
  runtime_v1::Stats s;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  set(s.mutable_time(), std::chrono::duration_cast<nanoseconds>(now).count());
  fill(*s.mutable_scheduler(), read_scheduler_stats());
  const mem_stats mem = read_mem_stats();
  fill(*s.mutable_heap(), mem.heap);
  fill(*s.mutable_collector(), mem.gc);
  return s;
}

}  // namespace

struct runtime_service::state {
  mutex m;
  bool going WARREN_GUARDED_BY(m) = false;
  broadcast shut_down;
  mutex collecting;

  bool is_going() {
    lock_guard hold(m);
    return going;
  }
};

runtime_service::runtime_service() : state_(std::make_unique<state>()) {}
runtime_service::~runtime_service() = default;

void runtime_service::shutdown() {
  {
    lock_guard hold(state_->m);
    state_->going = true;
  }
  state_->shut_down.notify();
}

result<runtime_v1::Stats> runtime_service::GetStats(server_context&, const runtime_v1::GetStatsRequest&) { return stats_now(); }

result<runtime_v1::Collection> runtime_service::Collect(server_context& ctx, const runtime_v1::CollectRequest&) {
  lock_guard one_at_a_time(state_->collecting);
  // The caller may have given up in the queue: then the work would be for nothing.
  if (ctx.cancelled()) return caller_gone(ctx);
  const gc_report report = collect();
  runtime_v1::Collection reply;
  fill(reply, report);
  return reply;
}

status runtime_service::WatchStats(server_context& ctx, const runtime_v1::WatchStatsRequest& request, writer<runtime_v1::Stats>& out) {
  nanoseconds interval = default_interval;
  if (request.has_interval()) {
    interval = duration_of(request.interval());
    if (interval < shortest_interval) return invalid_argument("interval is below 10 ms; ask for at least 10 ms, or leave it out for 1 s");
  }
  broadcast::listener end(state_->shut_down);
  const chan<unit> done = ctx.done();
  while (!state_->is_going()) {
    if (!out.write(stats_now())) return caller_gone(ctx);
    select(recv(end.wake()), recv(done), after(interval));
    if (ctx.cancelled()) return caller_gone(ctx);
  }
  return unavailable("the server is shutting down; ask another");
}

}  // namespace warren::grpc

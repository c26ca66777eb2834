// Which figure of warren's goes under which of Go's names.
//
// A name of Go's is used where the figure means the same; where warren has no such figure (profiling buckets, mcache bytes) the name is
// absent rather than 0, except go_memstats_lookups_total, which is 0 in every Go since 1.20 too and is still plotted.
// As in Go, go_memstats_sys_bytes is the sum of the other *_sys_bytes, and what the system has got back
// (go_memstats_heap_released_bytes) is part of it, of heap_sys_bytes and of heap_idle_bytes. Stacks count with their address space there;
// warren_memory_bytes is what is in use, and what the memory limit is about.
// go_gc_duration_seconds is a summary, as in Go. Go computes its quantiles from the pauses of the last 256 cycles; ours are of all
// cycles, and estimated from counts by power of two: right within a factor of two, the greatest exact. warren_gc_pause_seconds is the
// histogram to alert on.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>

#include <warren/gc.h>
#include <warren/metrics.h>
#include <warren/stats.h>

#include "server/admin/families.h"

namespace warren::admin {
namespace {

double seconds(int64_t ns) { return static_cast<double>(ns) / 1e9; }

// An upper estimate: the end of the bucket in which the q-th pause lies, cut to the longest.
double quantile(const gc_stats& gc, double q) {
  if (gc.cycles == 0) return 0;
  uint64_t total = 0;
  for (const uint64_t n : gc.pauses.count) total += n;
  const auto rank = std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(q * static_cast<double>(total))));
  uint64_t below = 0;
  for (size_t i = 0; i < gc.pauses.count.size(); i++) {
    below += gc.pauses.count[i];
    if (below >= rank) return std::min(std::ldexp(1e-9, static_cast<int>(i) + 1), seconds(gc.pause_max_ns));
  }
  return seconds(gc.pause_max_ns);
}

void go_memstats(families& f, const heap_stats& h, const gc_stats& gc, const scheduler_stats& s) {
  const auto gauge = [&](const char* name, const char* help, double v) { f.gauge(std::string("go_memstats_") + name, help, v); };
  const auto counter = [&](const char* name, const char* help, double v) { f.counter(std::string("go_memstats_") + name, help, v); };
  const auto d = [](uint64_t v) { return static_cast<double>(v); };
  gauge("alloc_bytes", "Number of bytes allocated in heap and currently in use.", d(h.bytes));
  counter("alloc_bytes_total", "Total number of bytes allocated in heap until now, even if released already.", d(h.total_bytes));
  gauge("sys_bytes", "Number of bytes obtained from system.", d(h.sys_bytes) + d(s.stack_bytes));
  counter("lookups_total", "Total number of pointer lookups.", 0);
  counter("mallocs_total", "Total number of heap objects allocated, both live and gc-ed.", d(h.mallocs));
  counter("frees_total", "Total number of heap objects frees.", d(h.frees));
  gauge("heap_alloc_bytes", "Number of heap bytes allocated and currently in use.", d(h.bytes));
  gauge("heap_sys_bytes", "Number of heap bytes obtained from system.", d(h.mapped_bytes));
  gauge("heap_idle_bytes", "Number of heap bytes waiting to be used.", d(h.idle_bytes));
  gauge("heap_inuse_bytes", "Number of heap bytes that are in use.", d(h.span_bytes));
  gauge("heap_released_bytes", "Number of heap bytes released to OS.", d(h.released_bytes));
  gauge("heap_objects", "Number of currently allocated objects.", d(h.objects));
  gauge("stack_inuse_bytes", "Number of bytes in use by the stack allocator.", d(s.stack_inuse_bytes));
  gauge("stack_sys_bytes", "Number of bytes obtained from system for stack allocator.", d(s.stack_bytes));
  gauge("gc_sys_bytes", "Number of bytes used for garbage collection system metadata.", d(h.metadata_bytes));
  gauge("next_gc_bytes", "Number of heap bytes when next garbage collection will take place.", d(gc.goal_bytes));
  gauge("last_gc_time_seconds", "Number of seconds since 1970 of last garbage collection.", seconds(gc.last_end_unix_ns));
}

void go_runtime(families& f, const heap_stats& h, const gc_stats& gc, const scheduler_stats& s) {
  const auto d = [](uint64_t v) { return static_cast<double>(v); };
  f.gauge("go_goroutines", "Number of goroutines that currently exist.", static_cast<double>(s.goroutines));
  f.gauge("go_threads", "Number of OS threads created.", s.threads);
  f.gauge("go_info", "Information about the Go environment.", 1, {{"version", "warren " WARREN_VERSION}});
  f.gauge("go_gc_gogc_percent", "Heap size target percentage configured by the user, otherwise 100.", gc.percent);
  f.gauge("go_gc_gomemlimit_bytes", "Go runtime memory limit configured by the user, otherwise math.MaxInt64.",
          static_cast<double>(gc.limit_bytes));
  f.gauge("go_sched_gomaxprocs_threads",
          "The current runtime.GOMAXPROCS setting, or the number of operating system threads that can "
          "execute user-level Go code simultaneously.",
          s.maxprocs);
  f.gauge("go_sched_goroutines_goroutines", "Count of live goroutines.", static_cast<double>(s.goroutines));
  f.counter("go_sched_goroutines_created_goroutines_total", "Count of goroutines created since program start.", d(s.goroutines_created));
  f.gauge("go_sched_threads_total_threads", "The current count of live threads that are owned by the runtime.", s.threads);

  MetricFamily& pauses =
      f.family("go_gc_duration_seconds", "A summary of the wall-time pause (stop-the-world) duration in garbage collection cycles.",
               MetricType::Summary);
  ClientMetric sample;
  sample.summary.sample_count = gc.cycles;
  sample.summary.sample_sum = seconds(gc.pause_total_ns);
  for (const double q : {0.0, 0.25, 0.5, 0.75, 1.0}) sample.summary.quantile.push_back({q, quantile(gc, q)});
  pauses.metric.push_back(std::move(sample));

  f.counter("go_gc_cycles_automatic_gc_cycles_total", "Count of completed GC cycles generated by the Go runtime.",
            d(gc.cycles - gc.forced()));
  f.counter("go_gc_cycles_forced_gc_cycles_total", "Count of completed GC cycles forced by the application.", d(gc.forced()));
  f.counter("go_gc_cycles_total_gc_cycles_total", "Count of all completed GC cycles.", d(gc.cycles));
  f.counter("go_gc_heap_allocs_bytes_total", "Cumulative sum of memory allocated to the heap by the application.", d(h.total_bytes));
  f.counter("go_gc_heap_allocs_objects_total", "Cumulative count of heap allocations triggered by the application.", d(h.mallocs));
  f.counter("go_gc_heap_frees_objects_total", "Cumulative count of heap allocations whose storage was freed by the garbage collector.",
            d(h.frees));
  f.counter("go_gc_heap_tiny_allocs_objects_total", "Count of small allocations that are packed together into blocks.", d(h.tiny_mallocs));
  f.gauge("go_gc_heap_goal_bytes", "Heap size target for the end of the GC cycle.", d(gc.goal_bytes));
  f.gauge("go_gc_heap_live_bytes", "Heap memory occupied by live objects that were marked by the previous GC.", d(gc.last.bytes_marked));
  f.gauge("go_gc_heap_objects_objects", "Number of objects, live or unswept, occupying heap memory.", d(h.objects));
  f.counter("go_gc_finalizers_executed_finalizers_total", "Count of finalizer functions executed.", d(gc.finalizers_run));
}

void warren_scheduler(families& f, const scheduler_stats& s) {
  const auto gauge = [&](const char* name, const char* help, auto v) {
    f.gauge(std::string("warren_sched_") + name, help, static_cast<double>(v));
  };
  const auto total = [&](const char* name, const char* help, uint64_t v) {
    f.counter(std::string("warren_sched_") + name + "_total", help, static_cast<double>(v));
  };
  gauge("goroutines", "Goroutines that exist, started or not.", s.goroutines);
  gauge("ps", "Ps: how many goroutines can run at once.", s.maxprocs);
  gauge("idle_ps", "Ps without work.", s.idle_procs);
  gauge("threads", "Ms: threads that run goroutines, the idle ones included.", s.threads);
  gauge("thread_waiters", "Goroutines that wait to begin a blocking call because threads are short.", s.thread_waiters);
  gauge("hogs", "Goroutines that compute without a P.", s.hogs);
  gauge("spinning_threads", "Ms that look for work.", s.spinning_threads);
  gauge("global_queue_goroutines", "Goroutines in the global run queue.", s.global_queue);
  gauge("local_queue_goroutines", "Goroutines in the local run queues of the Ps.", s.local_queues);
  total("goroutines_created", "Goroutines created.", s.goroutines_created);
  total("switches", "Switches to a goroutine.", s.switches);
  total("direct_switches", "Switches from one goroutine to another without the scheduler's stack.", s.direct_switches);
  total("parks", "Times a goroutine parked.", s.parks);
  total("readies", "Goroutines made runnable by a P.", s.readies);
  total("foreign_readies", "Goroutines made runnable by a thread without P.", s.foreign_readies);
  total("yields", "Times a goroutine yielded.", s.yields);
  total("preemptions", "Times a goroutine gave way because its time slice was over.", s.preemptions);
  total("global_gets", "Goroutines taken from the global run queue.", s.global_gets);
  total("spills", "Goroutines that a full local run queue sent to the global one.", s.spills);
  total("steal_attempts", "Times an M looked into the queue of another P.", s.steal_attempts);
  total("steals", "Steal attempts that found something.", s.steals);
  total("stolen_goroutines", "Goroutines that changed P by stealing.", s.stolen);
  total("timers_fired", "Timers fired.", s.timers_fired);
  total("blocking_calls", "Declared blocking regions entered.", s.blocking_calls);
  total("retakes", "Ps taken back from goroutines in blocking regions.", s.retakes);
  total("handoffs", "Ps handed to another M.", s.handoffs);
  total("hog_revocations", "Ps taken by signal from goroutines that computed on after their time slice.", s.hogs_revoked);
  total("blocked_revocations", "Ps taken from goroutines in blocking calls that were not declared.", s.blocked_revoked);
  total("thread_waits", "Times a goroutine waited to begin a blocking call because threads were short.", s.thread_waits);
  total("threads_retired", "Idle threads that ended.", s.threads_retired);
  total("world_stop_retries", "Stops of the world that let the goroutines they held go on for a moment.", s.world_stop_retries);
  total("thread_wakeups", "Idle Ms woken.", s.thread_wakeups);
  total("world_stops", "Times the world was stopped.", s.world_stops);
  f.counter("warren_netpoll_ready_total", "Goroutines that the network poller made runnable.", static_cast<double>(s.netpoll_ready));
  f.counter("warren_netpoll_wakeups_total", "Times the blocked network poller was woken for an earlier timer.",
            static_cast<double>(s.netpoll_wakeups));
  f.gauge("warren_stack_slots", "Stacks made, in use or kept for reuse.", static_cast<double>(s.stack_slots));
  f.gauge("warren_stack_bytes", "Address space of the stacks made.", static_cast<double>(s.stack_bytes));
  f.counter("warren_stack_reuses_total", "Goroutines that started on a stack kept at their P.", static_cast<double>(s.stacks_reused));
  f.counter("warren_stack_takes_total", "Goroutines that started on a stack from the pool.", static_cast<double>(s.stacks_taken));
}

void warren_heap(families& f, const heap_stats& h) {
  const auto d = [](uint64_t v) { return static_cast<double>(v); };
  f.gauge("warren_heap_reserved_bytes", "Address space reserved for the heap.", d(h.reserved_bytes));
  f.gauge("warren_heap_mapped_bytes", "Bytes of pages ever used.", d(h.mapped_bytes));
  f.gauge("warren_heap_external_bytes", "Memory of others behind objects, as the program has told (external_bytes).", d(h.external_bytes));
  f.counter("warren_heap_released_bytes_total", "Bytes of free pages given back to the system so far.", d(h.released_bytes_total));
  f.counter("warren_heap_release_failures_total", "Times the system refused to take free pages back.", d(h.release_failures));
  f.gauge("warren_heap_spans", "Spans in use.", d(h.spans_in_use));
  MetricFamily& levels = f.family("warren_heap_served_total", "Allocation requests by the level that served them.", MetricType::Counter);
  const auto level = [&](const char* name, uint64_t v) { levels.metric.push_back(counter_sample(d(v), {{"level", name}})); };
  level("tiny", h.tiny_hits);
  level("mcache", h.mcache_hits);
  level("mcentral", h.mcentral_hits);
  level("page_cache", h.page_cache_hits);
  level("mheap", h.mheap_hits);
  level("reservation", h.heap_grows);
  f.counter("warren_heap_large_mallocs_total", "Objects above 32 KiB allocated.", d(h.large_mallocs));
}

void warren_gc(families& f, const gc_stats& gc) {
  const auto d = [](uint64_t v) { return static_cast<double>(v); };
  MetricFamily& by = f.family("warren_gc_collections_total", "Collections by what started them.", MetricType::Counter);
  for (size_t i = 0; i < kGcTriggers; i++) {
    by.metric.push_back(counter_sample(d(gc.by_trigger[i]), {{"trigger", to_string(static_cast<gc_trigger>(i))}}));
  }
  MetricFamily& pauses = f.family("warren_gc_pause_seconds", "Time the world stood still in a collection.", MetricType::Histogram);
  ClientMetric sample;
  uint64_t below = 0;
  for (size_t i = 0; i < gc.pauses.count.size(); i++) {
    below += gc.pauses.count[i];
    // From 1 µs to 8.6 s; what is shorter or longer is in the first and in +Inf.
    if (i >= 9 && i <= 32) sample.histogram.bucket.push_back({below, std::ldexp(1e-9, static_cast<int>(i) + 1)});
  }
  sample.histogram.sample_count = below;
  sample.histogram.sample_sum = seconds(gc.pause_total_ns);
  pauses.metric.push_back(std::move(sample));
  f.gauge("warren_gc_last_pause_seconds", "Time the world stood still in the last collection.", seconds(gc.pause_last_ns));
  f.gauge("warren_gc_max_pause_seconds", "The longest time the world stood still in a collection.", seconds(gc.pause_max_ns));
  MetricFamily& phases = f.family("warren_gc_last_phase_seconds", "Time of each phase of the last collection.", MetricType::Gauge);
  const auto phase = [&](const char* name, int64_t ns) { phases.metric.push_back(gauge_sample(seconds(ns), {{"phase", name}})); };
  phase("stop", gc.last.stop_ns);
  phase("sweep_termination", gc.last.sweep_termination_ns);
  phase("mark", gc.last.mark_ns);
  phase("mark_termination", gc.last.mark_termination_ns);
  phase("sweep", gc.last.sweep_ns);
  MetricFamily& total = f.family("warren_gc_phase_seconds_total",
                                 "Time of each phase of all collections. The world stands in both terminations.", MetricType::Counter);
  const auto spent = [&](const char* name, int64_t ns) { total.metric.push_back(counter_sample(seconds(ns), {{"phase", name}})); };
  spent("sweep_termination", gc.sweep_termination_ns);
  spent("mark", gc.mark_ns);
  spent("mark_termination", gc.mark_termination_ns);
  MetricFamily& cpu = f.family(
      "warren_gc_mark_cpu_seconds_total",
      "Processor time of marking: by background workers, by goroutines that allocated, by processors without work.", MetricType::Counter);
  const auto by_whom = [&](const char* name, int64_t ns) { cpu.metric.push_back(counter_sample(seconds(ns), {{"by", name}})); };
  by_whom("worker", gc.worker_ns);
  by_whom("assist", gc.assist_ns);
  by_whom("idle", gc.idle_ns);
  MetricFamily& modes = f.family("warren_gc_cycles_total", "Collections by the collector's mode.", MetricType::Counter);
  const char* const names[kGcModes] = {"stw", "dijkstra", "yuasa", "hybrid"};
  for (size_t i = 0; i < kGcModes; i++) modes.metric.push_back(counter_sample(d(gc.by_mode[i]), {{"mode", names[i]}}));
  f.counter("warren_gc_assists_total", "Times an allocation owed marking.", d(gc.assists));
  f.counter("warren_gc_assists_by_credit_total", "Of these, that workers had done the marking already.", d(gc.assists_by_credit));
  f.counter("warren_gc_limited_total", "Times assists became free, as marking had taken half of the processors' time for long.",
            d(gc.limited));
  f.gauge("warren_gc_limiting", "1 while assists are free for that reason.", gc.limiting ? 1 : 0);
  f.counter("warren_gc_memory_limit_missed_total", "Collections that found more alive than the memory limit allows.", d(gc.limit_missed));
  f.gauge("warren_memory_bytes", "Memory of the runtime in use: what counts against the memory limit.", d(gc.memory_bytes));
  f.counter("warren_gc_rounds_total", "Times the world was stopped to end a marking and there was more to mark.", d(gc.rounds));
  f.counter("warren_gc_rescanned_objects_total", "Objects marked by scanning stacks while the world stood.", d(gc.objects_rescanned));
  f.counter("warren_gc_rescan_found_total", "Objects that only WARREN_GCRESCAN's scan of all stacks has found; more than 0 is an error.",
            d(gc.rescan_found));
  f.gauge("warren_gc_finalizers_waiting", "Finalizers of unreachable objects that have not run yet.", d(gc.finalizers_waiting));
}

void warren_stacks(families& f, const scheduler_stats& s) {
  const auto d = [](uint64_t v) { return static_cast<double>(v); };
  f.gauge("warren_stack_unguarded", "Stacks without a guard page: their overflow is noticed late.", d(s.stacks_unguarded));
  f.gauge("warren_stack_idle_bytes", "Address space of the stacks that are free.", d(s.stack_idle_bytes));
  f.gauge("warren_stack_released_bytes", "Of these, of the stacks whose memory was given back, or never touched.",
          d(s.stack_released_bytes));
  f.gauge("warren_stack_empty", "Free stacks whose memory was given back, or never touched.", d(s.stacks_empty));
  f.counter("warren_stack_emptied_total", "Stacks of ended goroutines whose memory was given back.", d(s.stacks_emptied));
  f.counter("warren_stack_cut_total", "Long waits during which memory below the stack pointer was given back.", d(s.stacks_cut));
  const std::vector<stack_use> sites = read_stack_use();
  MetricFamily& deepest =
      f.family("warren_stack_high_water_bytes", "Deepest use of a stack seen, by the call that spawned it.", MetricType::Gauge);
  for (const stack_use& u : sites) deepest.metric.push_back(gauge_sample(d(u.deepest), {{"spawned_by", u.function}}));
  MetricFamily& limit = f.family("warren_stack_limit_bytes", "Size of the stacks of warren_stack_high_water_bytes.", MetricType::Gauge);
  for (const stack_use& u : sites) limit.metric.push_back(gauge_sample(d(u.limit), {{"spawned_by", u.function}}));
  MetricFamily& samples =
      f.family("warren_stack_samples_total", "Goroutines of which the use of the stack was measured.", MetricType::Counter);
  for (const stack_use& u : sites) samples.metric.push_back(counter_sample(d(u.samples), {{"spawned_by", u.function}}));
}

class runtime_collector final : public prometheus::Collectable {
 public:
  std::vector<MetricFamily> Collect() const override {
    const scheduler_stats s = read_scheduler_stats();
    const mem_stats mem = read_mem_stats();
    families f;
    go_runtime(f, mem.heap, mem.gc, s);
    go_memstats(f, mem.heap, mem.gc, s);
    warren_scheduler(f, s);
    warren_stacks(f, s);
    warren_heap(f, mem.heap);
    warren_gc(f, mem.gc);
    return f.take();
  }
};

}  // namespace

std::shared_ptr<prometheus::Collectable> runtime_metrics() { return std::make_shared<runtime_collector>(); }

}  // namespace warren::admin

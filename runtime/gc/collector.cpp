#include "runtime/gc/collector.h"

#include <mutex>

#include "runtime/gc/barrier.h"
#include "runtime/os/clock.h"
#include "runtime/os/fatal.h"

namespace warren {

const char* to_string(gc_trigger t) noexcept {
  switch (t) {
    case gc_trigger::background: return "background";
    case gc_trigger::manual: return "manual";
    case gc_trigger::tiny: return "tiny";
    case gc_trigger::small: return "small";
    case gc_trigger::large: return "large";
  }
  return "?";
}

namespace rt {

const char* to_string(gc_phase p) noexcept {
  switch (p) {
    case gc_phase::off: return "off";
    case gc_phase::sweep_termination: return "sweep termination";
    case gc_phase::mark: return "mark";
    case gc_phase::mark_termination: return "mark termination";
  }
  return "?";
}

#ifdef NDEBUG
constexpr bool kReportHopelessCleanups = false;
#else
constexpr bool kReportHopelessCleanups = true;
#endif

collector::collector(mheap& h, root_set& roots, world& w, const collector_options& options)
    : heap_(h), roots_(roots), world_(w), marker_(h), percent_(options.percent), checkmark_(options.checkmark) {
  last_end_.store(world_.nanotime(), std::memory_order_relaxed);
  heap_.set_trigger(trigger_for(0));
}

// The one place where the phase changes. The barrier is on exactly while marking may be incomplete.
void collector::set_phase(gc_phase next) noexcept {
  const int64_t now = world_.nanotime();
  const gc_phase was = phase();
  const bool legal =
      (was == gc_phase::off && next == gc_phase::sweep_termination) || (was == gc_phase::sweep_termination && next == gc_phase::mark) ||
      (was == gc_phase::mark && next == gc_phase::mark_termination) || (was == gc_phase::mark_termination && next == gc_phase::off);
  if (!legal) fatal("the collector went from phase %s to %s: this is a bug in the runtime", to_string(was), to_string(next));
  phase_ns_[static_cast<int>(was)] = now - phase_start_;
  phase_start_ = now;
  phase_.store(next, std::memory_order_relaxed);
  set_barrier_flag(detail::barrier_marking, next == gc_phase::mark || next == gc_phase::mark_termination);
}

uint64_t collector::trigger_for(uint64_t marked) const noexcept {
  const int p = percent();
  if (p < 0) return ~uint64_t{0};
  const uint64_t percent = static_cast<uint64_t>(p);
  const uint64_t least = kMinTriggerBytes * percent / 100;
  const uint64_t goal = marked + marked / 100 * percent + marked % 100 * percent / 100;
  return goal > least ? goal : least;
}

int collector::set_percent(int percent) noexcept {
  const int was = percent_.exchange(percent < 0 ? -1 : percent, std::memory_order_relaxed);
  heap_.set_trigger(trigger_for(marked_.load(std::memory_order_relaxed)));
  return was;
}

void collector::finish_sweep() noexcept {
  while (heap_.sweep_one()) {
  }
}

gc_report collector::collect(gc_trigger trigger, bool force) {
  gc_report report;
  report.trigger = trigger;
  const bool by_allocation = !force && trigger != gc_trigger::manual && trigger != gc_trigger::background;
  if (by_allocation && !heap_.should_collect()) return report;
  finish_sweep();

  const int64_t asked = world_.nanotime();
  world_.stop("garbage collection");
  const int64_t stopped = world_.nanotime();
  if (by_allocation && !heap_.should_collect()) {
    world_.start();
    return report;
  }
  struct call {
    collector* self;
    gc_report* report;
  } c{this, &report};
  world_.on_system_stack([](void* arg) { static_cast<call*>(arg)->self->cycle(*static_cast<call*>(arg)->report); }, &c);
  report.stop_ns = stopped - asked;
  const int64_t end = world_.nanotime();
  report.pause_ns = end - stopped;
  last_end_.store(end, std::memory_order_relaxed);
  account(report);
  world_.start();

  if (trigger == gc_trigger::manual) {
    finish_sweep();
    report.sweep_ns = world_.nanotime() - end;
  }
  return report;
}

void collector::cycle(gc_report& report) {
  set_phase(gc_phase::sweep_termination);
  finish_sweep();
  if (!heap_.sweep_done()) fatal("a span is still being swept although the world stands: this is a bug in the runtime");
  world_.for_each_mcache([](void* heap, mcache* c) { static_cast<mheap*>(heap)->flush(*c); }, &heap_);
  const mheap::totals before = heap_.read_totals();
  report.bytes_before = before.bytes;
  report.objects_before = before.objects;

  // Threads that the stop does not hold wait at their next use of a root.
  roots_.lock();
  set_phase(gc_phase::mark);
  marker_.reset();
  mark_roots(report);
  marker_.drain();

  set_phase(gc_phase::mark_termination);
  // In this order: runtime/gc/weak.h and runtime/gc/cleanup.h say why.
  weaks_.clear_unreachable(heap_);
  report.finalizers_queued = finalizers_.find_unreachable(heap_, marker_);
  weaks_.drop_unused(heap_);
  report.cleanups_queued = cleanups_.find_unreachable(heap_);
  if (after_mark_for_testing != nullptr) after_mark_for_testing(after_mark_arg_for_testing);
  if (checkmark_) check();
  if (checkmark_ || kReportHopelessCleanups) cleanups_.report_hopeless(heap_);
  if (!marker_.idle()) fatal("marking ended with grey objects: this is a bug in the runtime");
  report.cycle = ++cycles_;
  report.bytes_marked = report.bytes_after = marker_.bytes();
  report.objects_marked = report.objects_after = marker_.objects();
  report.bytes_freed = report.bytes_before - report.bytes_marked;
  report.objects_freed = report.objects_before - report.objects_marked;
  marked_.store(report.bytes_marked, std::memory_order_relaxed);
  heap_.set_live_bytes(report.bytes_marked);
  heap_.set_trigger(trigger_for(report.bytes_marked));
  heap_.begin_sweep();
  marker_.trim();
  set_phase(gc_phase::off);
  roots_.unlock();
  report.sweep_termination_ns = phase_ns_[static_cast<int>(gc_phase::sweep_termination)];
  report.mark_ns = phase_ns_[static_cast<int>(gc_phase::mark)];
  report.mark_termination_ns = phase_ns_[static_cast<int>(gc_phase::mark_termination)];
}

void collector::mark_roots(gc_report& report) {
  report.root_words = roots_.for_each_word([this](uintptr_t w) { marker_.mark_word(w); });
  finalizers_.mark_ready(marker_);
  struct stacks {
    marker* m;
    uint64_t bytes;
  } s{&marker_, 0};
  world_.for_each_stack(
      [](void* ctx, const void* lo, const void* hi) {
        auto* const s = static_cast<stacks*>(ctx);
        s->m->mark_range(lo, hi);
        if (hi > lo) s->bytes += static_cast<uint64_t>(static_cast<const std::byte*>(hi) - static_cast<const std::byte*>(lo));
      },
      &s);
  report.stack_bytes = s.bytes;
}

void collector::check() {
  checkmark c(heap_);
  c.begin();
  roots_.for_each_word([&c](uintptr_t w) { c.root(w, "root", nullptr); });
  finalizers_.for_each_ready([&c](const void* object) { c.root(reinterpret_cast<uintptr_t>(object), "queue of finalizers", nullptr); });
  world_.for_each_stack([](void* ctx, const void* lo, const void* hi) { static_cast<checkmark*>(ctx)->range(lo, hi, "goroutine's stack"); },
                        &c);
  const uint64_t objects = c.finish();
  if (objects != marker_.objects())
    fatal("checkmark: counted %llu objects, the marking %llu: this is a bug in the runtime", static_cast<unsigned long long>(objects),
          static_cast<unsigned long long>(marker_.objects()));
}

void collector::account(const gc_report& r) noexcept {
  std::lock_guard guard(stats_lock_);
  gc_stats& s = stats_;
  s.cycles = r.cycle;
  ++s.by_trigger[static_cast<size_t>(r.trigger)];
  s.pause_last_ns = r.pause_ns;
  s.pause_total_ns += r.pause_ns;
  if (r.pause_ns > s.pause_max_ns) s.pause_max_ns = r.pause_ns;
  size_t bucket = 0;
  while (bucket + 1 < pause_histogram::kBuckets && (r.pause_ns >> (bucket + 1)) != 0) ++bucket;
  ++s.pauses.count[bucket];
  s.last_end_unix_ns = walltime();
  s.last = r;
}

gc_stats collector::read_stats() noexcept {
  gc_stats s;
  {
    std::lock_guard guard(stats_lock_);
    s = stats_;
  }
  s.next_bytes = heap_.trigger();
  s.finalizers_run = finalizers_.run();
  s.finalizers_waiting = finalizers_.waiting();
  s.cleanups_run = cleanups_.run();
  s.cleanups_ready = cleanups_.ready();
  s.cleanups_waiting = cleanups_.waiting();
  s.weak_cells = weaks_.size();
  s.weak_cells_cleared = weaks_.cleared();
  s.percent = percent();
  return s;
}

}  // namespace rt
}  // namespace warren

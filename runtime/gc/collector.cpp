#include "runtime/gc/collector.h"

#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <mutex>

#include "runtime/gc/barrier.h"
#include "runtime/gc/pieced_word.h"
#include "runtime/os/clock.h"
#include "runtime/os/fatal.h"
#include "runtime/os/membarrier.h"

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

namespace {
// Of marking, what mark_termination does itself rather than start the world for another round: 30 µs or so.
constexpr uint64_t kMarkInPause = WARREN_CAPACITY(32 * 1024, 64);
// After so many rounds it does all that is left: a program that moves pointers about on shared stacks could go on for long.
constexpr uint64_t kMostRounds = 50;
// Of the queue of finalizers, what is greyed under its lock at once: 10 µs or so.
constexpr size_t kFinalizersAtOnce = WARREN_CAPACITY(256, 2);

struct stack_call {
  marker* m;
  uint64_t bytes = 0;
  static void visit(void* ctx, const void* lo, const void* hi, bool) {
    auto* const c = static_cast<stack_call*>(ctx);
    c->m->mark_range(lo, hi);
    if (hi > lo) c->bytes += static_cast<uint64_t>(static_cast<const std::byte*>(hi) - static_cast<const std::byte*>(lo));
  }
};
}  // namespace

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

const char* to_string(gc_mode m) noexcept {
  switch (m) {
    case gc_mode::stw: return "stw";
    case gc_mode::dijkstra: return "dijkstra";
    case gc_mode::yuasa: return "yuasa";
    case gc_mode::hybrid: return "hybrid";
  }
  return "?";
}

bool parse_gc_mode(const char* text, gc_mode* out) noexcept {
  for (size_t i = 0; i < kGcModes; ++i) {
    const auto m = static_cast<gc_mode>(i);
    if (strcmp(text, to_string(m)) != 0) continue;
    *out = m;
    return true;
  }
  return false;
}

collector::collector(mheap& h, root_set& roots, world& w, const collector_options& options)
    : heap_(h),
      roots_(roots),
      world_(w),
      pool_(h.space().mark_work(), h.space().mark_work_bytes()),
      mode_(options.mode),
      percent_(options.percent),
      checkmark_(options.checkmark),
      rescan_(options.rescan),
      ends_in_pause_(options.ends_in_pause),
      shared_(h, pool_),
      pacer_(options.percent, options.mode != gc_mode::stw),
      limit_(options.limit) {
  last_end_.store(world_.nanotime(), std::memory_order_relaxed);
  limited_at_ = last_end();
  pacer_lock_.lock();
  pacer_.set_memory(take_memory());
  publish_goals();
  pacer_lock_.unlock();
}

// The one place where the phase changes, and with it what a store does: the barrier is on exactly while marking may be incomplete.
void collector::set_phase(gc_phase next) noexcept {
  const int64_t now = world_.nanotime();
  const gc_phase was = phase();
  const bool legal = (was == gc_phase::off && next == gc_phase::sweep_termination) ||
                     (was == gc_phase::sweep_termination && next == gc_phase::mark) ||
                     (was == gc_phase::mark && next == gc_phase::mark_termination) ||
                     (was == gc_phase::mark_termination && (next == gc_phase::mark || next == gc_phase::off));
  if (!legal) fatal("the collector went from phase %s to %s: this is a bug in the runtime", to_string(was), to_string(next));
  phase_ns_[static_cast<int>(was)] += now - phase_start_;
  phase_start_ = now;
  phase_.store(next, std::memory_order_release);
  if (was == gc_phase::sweep_termination) {
    set_barrier_flag(detail::barrier_new_only, mode_ == gc_mode::dijkstra);
    set_barrier_flag(detail::barrier_old_only, mode_ == gc_mode::yuasa);
  }
  set_barrier_flag(detail::barrier_marking, next == gc_phase::mark || next == gc_phase::mark_termination);
  if (has_membarrier) membarrier();
}

void collector::set_mode(gc_mode mode) noexcept {
  if (phase() != gc_phase::off) fatal("the collector's mode was changed during a collection: this is a bug in the runtime");
  std::lock_guard guard(pacer_lock_);
  mode_ = mode;
  pacer_.set(percent(), mode_ != gc_mode::stw);
  publish_goals();
}

// What others need to know of the pacer: allocations the trigger, the scavenger how much of the heap may be resident.
void collector::publish_goals() noexcept {
  heap_.set_trigger(pacer_.trigger());
  external_paced_.store(pacer_.external(), std::memory_order_relaxed);
  hard_goal_.store(limiter_.limiting() ? pacer::kNever : pacer_.hard_goal(), std::memory_order_relaxed);
  uint64_t retain = pacer_.retain();
  uint64_t most = scavenger::kNone;
  if (const uint64_t limit = this->limit(); limit != pacer::kNever) {
    const uint64_t others = heap_.metadata_bytes() + heap_.external_bytes();
    const uint64_t rest = others + heap_.scavenging().stacks_resident_bytes();
    const uint64_t soon = soon_at_limit();
    most = limit > others ? limit - others : 0;
    retain = std::min(retain, soon > rest ? soon - rest : 0);
  }
  heap_.scavenging().set_goal(retain);
  heap_.scavenging().set_limit(most);
}

uint64_t collector::memory_bytes() const noexcept {
  return heap_.scavenging().resident_bytes() + heap_.metadata_bytes() + heap_.external_bytes();
}

pacer::memory collector::take_memory() noexcept {
  pacer::memory m;
  m.limit = limit();
  m.used = memory_bytes();
  m.external = heap_.external_bytes();
  m.heap_free = heap_.scavenging().idle_bytes();
  m.heap_spans = heap_.span_bytes();
  m.heap_allocated = m.limit == pacer::kNever ? 0 : heap_.read_totals().bytes;
  m.ignore = limiting_.load(std::memory_order_relaxed);
  return m;
}

void collector::revise_memory() noexcept {
  if (limit() == pacer::kNever) return;
  std::lock_guard guard(pacer_lock_);
  pacer_.set_memory(take_memory());
  publish_goals();
}

uint64_t collector::set_limit(uint64_t bytes) noexcept {
  std::lock_guard guard(pacer_lock_);
  const uint64_t was = limit_.exchange(bytes, std::memory_order_relaxed);
  pacer_.set_memory(take_memory());
  publish_goals();
  return was;
}

void collector::add_external(int64_t n) noexcept {
  const uint64_t now = heap_.add_external(n);
  if (n >= 0) return;
  // By eighths, so that the lock is taken a few times for all that one collection has found.
  const uint64_t paced = external_paced_.load(std::memory_order_relaxed);
  if (now >= paced - paced / 8 || phase() != gc_phase::off) return;
  std::lock_guard guard(pacer_lock_);
  if (const uint64_t least = std::min(pacer_.external(), heap_.external_bytes()); least != pacer_.external()) {
    pacer_.set_external(least);
    if (limit() != pacer::kNever) pacer_.set_memory(take_memory());
    publish_goals();
  }
}

void collector::report_limit() noexcept {
  constexpr int64_t kEvery = int64_t{600} * 1'000'000'000;
  const uint64_t missed = limit_missed_.load(std::memory_order_relaxed);
  if (missed == limit_told_of_) return;
  const int64_t now = world_.nanotime();
  if (limit_told_of_ != 0 && now - limit_told_ < kEvery) return;
  limit_told_ = now;
  limit_told_of_ = missed;
  char behind[96] = "";
  if (const uint64_t external = heap_.external_bytes(); external != 0)
    snprintf(behind, sizeof behind, " with %llu KiB behind them (external_bytes)", static_cast<unsigned long long>(external >> 10));
  print_error(
      "warren: the memory limit of %llu KiB cannot be kept: %llu KiB of objects%s are alive, and %llu KiB are in use in all; collections "
      "take up to half of the processors' time. Raise it (GOMEMLIMIT, warren::set_memory_limit) or keep less\n",
      static_cast<unsigned long long>(limit() >> 10), static_cast<unsigned long long>(report_.bytes_marked >> 10), behind,
      static_cast<unsigned long long>(memory_bytes() >> 10));
}

int collector::set_percent(int percent) noexcept {
  if (percent < 0) percent = -1;
  std::lock_guard guard(pacer_lock_);
  const int was = percent_.exchange(percent, std::memory_order_relaxed);
  pacer_.set(percent, mode_ != gc_mode::stw);
  publish_goals();
  return was;
}

// In pieces of some 10 µs: a gigabyte of small objects takes 20 ms, nearly all of it in critical sections, where no signal holds the
// thread.
void collector::finish_sweep() noexcept {
  constexpr int kPiece = WARREN_CAPACITY(64, 2);  // spans
  for (;;) {
    for (int i = 0; i < kPiece; ++i)
      if (!heap_.sweep_one()) return;
    if (between_sweeps_for_testing != nullptr) between_sweeps_for_testing(between_sweeps_arg_for_testing);
    world_.give_way();
  }
}

void collector::add(marker& m) noexcept {
  m.flush();
  bytes_.fetch_add(m.bytes, std::memory_order_relaxed);
  objects_.fetch_add(m.objects, std::memory_order_relaxed);
  scanned_.fetch_add(m.scanned, std::memory_order_relaxed);
  m.bytes = m.objects = m.scanned = 0;
}

void collector::shade(const void* object) noexcept {
  shared_lock_.lock();
  if (phase() == gc_phase::mark || phase() == gc_phase::mark_termination) shared_.mark_word(reinterpret_cast<uintptr_t>(object));
  shared_lock_.unlock();
}

// ---- a whole collection -----------------------------------------------------------------------------------------------------------------
gc_report collector::collect(gc_trigger trigger, bool force) {
  if (!start(trigger, force)) {
    gc_report nothing;
    nothing.trigger = trigger;
    return nothing;
  }
  while (phase() == gc_phase::mark) {
    while (mark(~uint64_t{0}) != 0) {
    }
    retry_stacks();
    finish();
  }
  if (trigger == gc_trigger::manual) {
    const int64_t before = world_.nanotime();
    finish_sweep();
    swept(world_.nanotime() - before);
  }
  return report_;
}

// ---- start ------------------------------------------------------------------------------------------------------------------------------
bool collector::start(gc_trigger trigger, bool force) {
  const bool by_allocation = !force && trigger != gc_trigger::manual && trigger != gc_trigger::background;
  if (by_allocation && !heap_.should_collect()) return false;
  finish_sweep();

  const int64_t asked = world_.nanotime();
  world_.stop("garbage collection");
  const int64_t stopped = world_.nanotime();
  if (by_allocation && !heap_.should_collect()) {
    world_.start();
    return false;
  }
  report_ = {};
  ending_ = ending::marking;
  report_.trigger = trigger;
  report_.stop_ns = stopped - asked;
  for (int64_t& ns : phase_ns_) ns = 0;
  phase_start_ = stopped;
  world_.on_system_stack([](void* self) { static_cast<collector*>(self)->stopped_start(); }, this);
  record_pause(world_.nanotime() - stopped);
  const bool over = phase() == gc_phase::off;
  if (over) account();
  world_.start();
  if (over) pool_.give_back();
  return true;
}

void collector::stopped_start() {
  set_phase(gc_phase::sweep_termination);
  finish_sweep();
  if (!heap_.sweep_done()) fatal("a span is still being swept although the world stands: this is a bug in the runtime");
  world_.for_each_mcache([](void* heap, mcache* c) { static_cast<mheap*>(heap)->flush(*c); }, &heap_);
  const mheap::totals before = heap_.read_totals();
  report_.bytes_before = before.bytes;
  report_.objects_before = before.objects;
  report_.cycle = ++cycles_;
  bytes_ = objects_ = scanned_ = stack_bytes_ = root_words_ = 0;
  worker_ns_ = assist_ns_ = idle_ns_ = 0;
  assist_queue_.open();
  mark_began_ = world_.nanotime();
  pacer_lock_.lock();
  pacer_.start_cycle(heap_.paced_bytes(), heap_.external_bytes());
  pacer_lock_.unlock();

  // Threads that the stop does not hold wait at their next use of a root.
  roots_.lock();
  heap_.set_allocate_black(true);
  world_.begin_marking(static_cast<uint32_t>(cycles_), checkmark_ || rescan_);
  const auto shader = [](void* self, const void* object) { static_cast<collector*>(self)->shade(object); };
  roots_.set_shader(shader, this);
  finalizers_.set_shader(shader, this);
  finalizers_.begin_marking();
  set_phase(gc_phase::mark);
  jobs_ = mode_ == gc_mode::hybrid || mode_ == gc_mode::dijkstra ? world_.stack_batches() : 0;
  next_job_.store(0, std::memory_order_relaxed);
  pacer_lock_.lock();
  revise();
  pacer_lock_.unlock();

  if (mode_ == gc_mode::yuasa || mode_ == gc_mode::stw) {
    marker m(heap_, pool_);
    scan_stacks(m, &world::for_each_stack);
    if (mode_ == gc_mode::stw) {
      report_.root_words = roots_.for_each_word([&m](uintptr_t w) { m.mark_word(w); });
      while (finalizers_.mark_some(m, kFinalizersAtOnce)) {
      }
      m.drain();
    }
    add(m);
  }
  if (mode_ == gc_mode::stw) {
    stopped_finish();
  } else {
    roots_.unlock();
  }
}

void collector::scan_stacks(marker& m, void (world::*scan)(world::stack_visitor, void*)) {
  stack_call c{&m};
  (world_.*scan)(&stack_call::visit, &c);
  stack_bytes_.fetch_add(c.bytes, std::memory_order_relaxed);
}

// ---- mark -------------------------------------------------------------------------------------------------------------------------------
// One piece of the roots: batches of stacks, then of the queue of finalizers, then chunks of cells.
bool collector::root_job(marker& m, uint64_t* work, bool roots_locked) noexcept {
  if (next_job_.load(std::memory_order_relaxed) < jobs_) {
    const size_t job = next_job_.fetch_add(1, std::memory_order_relaxed);
    if (job < jobs_) {
      stack_call c{&m};
      world_.scan_batch(job, &stack_call::visit, &c);
      stack_bytes_.fetch_add(c.bytes, std::memory_order_relaxed);
      *work += c.bytes + 64;
      return true;
    }
  }
  if (finalizers_.mark_some(m, kFinalizersAtOnce)) {
    *work += kFinalizersAtOnce * sizeof(void*);
    return true;
  }
  size_t words = 0;
  if (!roots_locked) roots_.lock();
  const bool any = roots_.scan_chunk(&words, [&m](uintptr_t w) { m.mark_word(w); });
  if (!roots_locked) roots_.unlock();
  if (!any) return false;
  root_words_.fetch_add(words, std::memory_order_relaxed);
  *work += words * sizeof(void*) + 64;
  return true;
}

uint64_t collector::mark(uint64_t work) noexcept {
  participants_.fetch_add(1, std::memory_order_seq_cst);
  uint64_t done = 0;
  if (phase() == gc_phase::mark) {
    marker m(heap_, pool_);
    while (done < work) {
      done += m.drain(work - done);
      if (done >= work) break;
      if (root_job(m, &done, false)) continue;
      // What has been shaded, by threads and by roots.
      const uint64_t before = m.objects;
      world_.take_barriers([](void* m, uintptr_t word) { static_cast<marker*>(m)->mark_word(word); }, &m);
      shared_lock_.lock();
      const uint64_t shared = shared_.objects;
      add(shared_);
      shared_lock_.unlock();
      if (m.objects == before && shared == 0) break;
      done += 64;
    }
    add(m);
  }
  participants_.fetch_sub(1, std::memory_order_seq_cst);
  return done;
}

bool collector::idle() const noexcept {
  return participants_.load(std::memory_order_seq_cst) == 0 && !pool_.has_work() && next_job_.load(std::memory_order_relaxed) >= jobs_ &&
         !finalizers_.to_mark();
}

// ---- pacing -----------------------------------------------------------------------------------------------------------------------------
// What an allocated byte costs from here on; and whether it costs anything.
void collector::revise() noexcept {
  const uint64_t done = scanned_.load(std::memory_order_relaxed) + stack_bytes_.load(std::memory_order_relaxed) +
                        root_words_.load(std::memory_order_relaxed) * sizeof(void*);
  ratio_.store(pacer_.ratio(heap_.paced_bytes(), done), std::memory_order_relaxed);
  const int64_t now = world_.nanotime();
  const int64_t spent = assist_ns_.load(std::memory_order_relaxed) + worker_ns_.load(std::memory_order_relaxed);
  const int procs = world_.procs();
  limiter_.update((now - limited_at_) * procs, spent > limited_gc_ ? spent - limited_gc_ : 0, procs);
  limited_at_ = now;
  limited_gc_ = spent;
  limiting_.store(limiter_.limiting(), std::memory_order_relaxed);
  strict_.store(pacer_.by_limit() && !limiter_.limiting(), std::memory_order_relaxed);
}

uint64_t collector::work(uint64_t amount, worker kind) noexcept {
  const int64_t before = world_.nanotime();
  const uint64_t done = mark(amount);
  (kind == worker::idle ? idle_ns_ : worker_ns_).fetch_add(world_.nanotime() - before, std::memory_order_relaxed);
  assist_queue_.add(static_cast<int64_t>(done));
  pacer_lock_.lock();
  revise();
  pacer_lock_.unlock();
  if (!strict()) assist_queue_.forgive();
  return done;
}

bool collector::assist(uint64_t bytes, int64_t* credit) noexcept {
  constexpr int64_t kLeast = WARREN_CAPACITY(64 * 1024, 256);  // more than is owed, so that one does not come for every refill
  if (limiting_.load(std::memory_order_relaxed)) return true;
  // Workers revise it, but they may stand still, the system's processors being busy with others.
  if (beyond_limit() && pacer_lock_.try_lock()) {
    revise();
    pacer_lock_.unlock();
  }
  *credit -= static_cast<int64_t>(ratio_.load(std::memory_order_relaxed) * static_cast<double>(bytes));
  if (*credit >= 0) return true;
  assists_.fetch_add(1, std::memory_order_relaxed);
  *credit += assist_queue_.take(-*credit);  // what workers have done already
  if (*credit >= 0) {
    assists_by_credit_.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  const int64_t before = world_.nanotime();
  const int64_t owed = -*credit > kLeast ? -*credit : kLeast;
  const uint64_t done = mark(static_cast<uint64_t>(owed));
  const bool short_of_work = done < static_cast<uint64_t>(owed);
  *credit += static_cast<int64_t>(done);
  assist_ns_.fetch_add(world_.nanotime() - before, std::memory_order_relaxed);
  if (!short_of_work || *credit >= 0) return true;
  if (strict()) return false;
  *credit = 0;  // the rest is forgiven, the marking is about to end
  return true;
}

size_t collector::retry_stacks() noexcept {
  if (mode_ != gc_mode::hybrid) return 0;  // scanned already, or to be scanned in the pause
  participants_.fetch_add(1, std::memory_order_seq_cst);
  marker m(heap_, pool_);
  stack_call c{&m};
  const size_t left = world_.retry_stacks(&stack_call::visit, &c);
  stack_bytes_.fetch_add(c.bytes, std::memory_order_relaxed);
  add(m);
  participants_.fetch_sub(1, std::memory_order_seq_cst);
  return left;
}

// ---- finish -----------------------------------------------------------------------------------------------------------------------------
bool collector::finish() {
  for (;;) {
    const bool over = stop_and_finish();
    if (over || !ends_are_due()) return over;
    run_ends();
  }
}

bool collector::stop_and_finish() {
  const int64_t asked = world_.nanotime();
  world_.stop("garbage collection (mark termination)");
  const int64_t stopped = world_.nanotime();
  report_.stop_ns += stopped - asked;
  world_.on_system_stack([](void* self) { static_cast<collector*>(self)->stopped_finish(); }, this);
  record_pause(world_.nanotime() - stopped);
  const bool over = phase() == gc_phase::off;
  if (over) account();
  world_.start();
  if (over) pool_.give_back();  // not in the pause: a tenth of a millisecond for a gigabyte of small objects
  return over;
}

void collector::stopped_finish() {
  if (mode_ != gc_mode::stw) roots_.lock();
  set_phase(gc_phase::mark_termination);
  marker m(heap_, pool_);
  const outcome found = terminate(m);
  add(m);
  if (found != outcome::over) {
    if (found == outcome::grey) ++report_.rounds;
    set_phase(gc_phase::mark);
    roots_.unlock();
    return;
  }

  weaks_.end_judged();
  assist_queue_.close();
  if (after_mark_for_testing != nullptr) after_mark_for_testing(after_mark_arg_for_testing);
  if (checkmark_) check();
  if (checkmark_ || kReportHopelessCleanups) cleanups_.report_hopeless(heap_);
  world_.end_marking();
  roots_.set_shader(nullptr, nullptr);
  finalizers_.set_shader(nullptr, nullptr);
  world_.for_each_mcache([](void* heap, mcache* c) { static_cast<mheap*>(heap)->flush(*c); }, &heap_);
  uint64_t black_bytes, black_objects;
  heap_.read_black(&black_bytes, &black_objects);
  heap_.set_allocate_black(false);
  report_.bytes_made = black_bytes;
  report_.objects_made = black_objects;
  report_.bytes_marked = report_.bytes_after = bytes_.load() + black_bytes;
  report_.objects_marked = report_.objects_after = objects_.load() + black_objects;
  report_.bytes_freed = report_.bytes_before + black_bytes - report_.bytes_marked;
  report_.objects_freed = report_.objects_before + black_objects - report_.objects_marked;
  report_.stack_bytes = stack_bytes_.load();
  report_.root_words += root_words_.load();
  report_.assist_ns = assist_ns_.load();
  report_.worker_ns = worker_ns_.load();
  report_.idle_ns = idle_ns_.load();
  report_.bytes_scanned = scanned_.load();
  pacer_lock_.lock();
  if (mode_ == gc_mode::stw) {
    // All processors have marked, or stood for it.
    const int64_t now = world_.nanotime();
    const int procs = world_.procs();
    limiter_.update((now - limited_at_) * procs, (now - mark_began_) * procs, procs);
    limited_at_ = now;
    limiting_.store(limiter_.limiting(), std::memory_order_relaxed);
  }
  pacer_.end_cycle({.marked = report_.bytes_marked,
                    .external = heap_.external_bytes(),
                    .live_end = heap_.paced_bytes(),
                    .heap_work = report_.bytes_scanned,
                    .root_work = report_.stack_bytes + report_.root_words * sizeof(void*),
                    .duration = mode_ == gc_mode::stw ? 0 : world_.nanotime() - mark_began_,
                    .assist = report_.assist_ns,
                    .idle = report_.idle_ns,
                    .procs = world_.procs()},
                   take_memory());
  if (pacer_.limit_missed()) limit_missed_.fetch_add(1, std::memory_order_relaxed);
  heap_.set_live_bytes(report_.bytes_marked);
  publish_goals();
  pacer_lock_.unlock();
  heap_.begin_sweep();
  pool_.reset();
  set_phase(gc_phase::off);
  roots_.unlock();
  report_.sweep_termination_ns = phase_ns_[static_cast<int>(gc_phase::sweep_termination)];
  report_.mark_ns = phase_ns_[static_cast<int>(gc_phase::mark)];
  report_.mark_termination_ns = phase_ns_[static_cast<int>(gc_phase::mark_termination)];
}

// All but `grey`: nothing is grey, and nobody can make anything grey.
collector::outcome collector::terminate(marker& m) {
  if (participants_.load() != 0) fatal("the world stands and somebody marks: this is a bug in the runtime");
  const uint64_t little = mode_ == gc_mode::stw || report_.rounds >= kMostRounds ? ~uint64_t{0} : kMarkInPause;
  const uint64_t limit = mode_ == gc_mode::dijkstra ? ~uint64_t{0} : little;
  const auto drained = [&](uint64_t limit) {
    if (m.drain(limit) >= limit) {
      m.flush();
      return !pool_.has_work();
    }
    return true;
  };

  shared_lock_.lock();
  add(shared_);
  shared_lock_.unlock();
  world_.take_barriers([](void* m, uintptr_t word) { static_cast<marker*>(m)->mark_word(word); }, &m);
  if (mode_ != gc_mode::stw) {
    uint64_t none = 0;
    while (root_job(m, &none, true)) {
    }
    root_words_.fetch_add(roots_.for_each_range_word([&m](uintptr_t w) { m.mark_word(w); }), std::memory_order_relaxed);
    const uint64_t before = m.objects;
    scan_stacks(m, mode_ == gc_mode::dijkstra ? &world::for_each_stack : &world::rest_of_stacks);
    report_.objects_rescanned += m.objects - before;
  }
  if (!drained(limit)) return outcome::grey;
  if (rescan_ && mode_ == gc_mode::hybrid) {
    report_.rescan_found += rescan(m);
    if (!drained(limit)) return outcome::grey;
  }
  const bool all_in_pause = mode_ == gc_mode::stw || checkmark_ || rescan_;
  const bool in_pause = all_in_pause || weaks_.size() + finalizers_.registered() + cleanups_.waiting() <= ends_in_pause_;
  if (ending_ == ending::marking) {
    if (!in_pause) {
      ending_ = ending::due;
      judge();
      return outcome::ends;
    }
    clear_weaks();
    find_finalizers();
    ending_ = ending::found;
  }
  if (ending_ == ending::found) {
    weaks_.end_judged();  // what the finalizers bring back may have weak pointers, made by them
    finalizers_.publish();
    ending_ = ending::finalizing;
    while (finalizers_.mark_some(m, kFinalizersAtOnce) && all_in_pause) {
    }
    if (finalizers_.to_mark() || !drained(little)) return outcome::grey;
  }
  if (ending_ == ending::finalizing) {
    if (!in_pause) {
      ending_ = ending::clean_due;
      judge();
      return outcome::ends;
    }
    queue_cleanups();
    ending_ = ending::done;
  }
  return outcome::over;
}

// ---- ends of objects: collector.h has the order --------------------------------------------------------------------------------------
void collector::judge() noexcept {
  weaks_.begin_judged([](void* self, const void* cell) { static_cast<collector*>(self)->shade(cell); }, this);
}

// Until there is no more of it, in pieces, as others want the table's lock, and in a piece the world cannot be stopped. Of a million weak
// pointers or finalized objects a piece took 6 to 9 µs in the mean and 60 at most, but for what the system took away; a pass 8 ms.
template <class F>
void collector::piece_by_piece(F&& piece) {
  constexpr size_t kPiece = WARREN_CAPACITY(1024, 2);
  const bool running = phase() == gc_phase::mark;
  for (size_t at = 0;;) {
    if (running && between_ends_for_testing != nullptr) between_ends_for_testing(between_ends_arg_for_testing);
    const bool more = piece(&at, kPiece);
    if (running) world_.give_way();
    if (!more) return;
  }
}

void collector::clear_weaks() noexcept {
  piece_by_piece([this](size_t* at, size_t most) { return weaks_.clear_unreachable(heap_, at, most); });
}

void collector::find_finalizers() noexcept {
  piece_by_piece([this](size_t* at, size_t most) { return finalizers_.find_unreachable(heap_, at, most, &report_.finalizers_queued); });
}

void collector::queue_cleanups() noexcept {
  piece_by_piece([this](size_t* at, size_t most) { return cleanups_.find_unreachable(heap_, at, most, &report_.cleanups_queued); });
  piece_by_piece([this](size_t* at, size_t most) { return weaks_.drop_unused(heap_, at, most); });
}

// The world runs.
void collector::run_ends() noexcept {
  if (ending_ == ending::due) {
    clear_weaks();
    find_finalizers();
    if (report_.finalizers_queued != 0) {
      ending_ = ending::found;
      return;
    }
  }
  queue_cleanups();
  ending_ = ending::done;
}

namespace {
// How many words of [lo, hi), a stack that was cleared when it was scanned, lead to unmarked objects and were written as a whole.
__attribute__((no_sanitize("address", "thread"))) uint64_t lost_words(const mheap& heap, const void* lo, const void* hi) noexcept {
  uint64_t n = 0;
  constexpr uintptr_t w = sizeof(uintptr_t);
  auto* p = reinterpret_cast<const volatile uintptr_t*>((reinterpret_cast<uintptr_t>(lo) + w - 1) / w * w);
  auto* const end = reinterpret_cast<const volatile uintptr_t*>(reinterpret_cast<uintptr_t>(hi) / w * w);
  for (; p < end; ++p) {
    const uintptr_t word = *p;
    const object_ref o = heap.find_for_mark(word);
    if (o && !o.span->is_marked(o.index) && !may_be_nobodys(heap, word, o)) ++n;
  }
  return n;
}
}  // namespace

// The oracle: all stacks again. What that finds was lost, or lay in memory that nobody had written since the marking began.
uint64_t collector::rescan(marker& m) {
  struct call {
    const mheap* heap;
    marker* m;
    uint64_t found;
  } c{&heap_, &m, 0};
  world_.for_each_stack(
      [](void* ctx, const void* lo, const void* hi, bool exact) {
        auto* const c = static_cast<call*>(ctx);
        if (exact) c->found += lost_words(*c->heap, lo, hi);
        c->m->mark_range(lo, hi);
      },
      &c);
  return c.found;
}

void collector::check() {
  checkmark c(heap_);
  c.begin();
  const bool exact = mode_ == gc_mode::stw;
  roots_.for_each_word([&c](uintptr_t w) { c.root(w, "root", nullptr); });
  finalizers_.for_each_ready([&c](const void* object) { c.root(reinterpret_cast<uintptr_t>(object), "queue of finalizers", nullptr); });
  struct call {
    checkmark* c;
    bool exact;
  } stacks{&c, exact};
  world_.for_each_stack(
      [](void* ctx, const void* lo, const void* hi, bool exact) {
        const auto* const s = static_cast<const call*>(ctx);
        // In mode stw the words are those that were marked from.
        s->c->range(lo, hi, "goroutine's stack",
                    s->exact ? checkmark::evidence::proof : (exact ? checkmark::evidence::cleared : checkmark::evidence::none));
      },
      &stacks);
  const uint64_t objects = c.finish(exact);
  report_.checkmark_doubtful = c.doubtful();
  if (exact && objects != objects_.load())
    fatal("checkmark: counted %llu objects, the marking %llu: this is a bug in the runtime", static_cast<unsigned long long>(objects),
          static_cast<unsigned long long>(objects_.load()));
}

// ---- accounts ---------------------------------------------------------------------------------------------------------------------------
void collector::record_pause(int64_t ns) noexcept {
  report_.pause_ns += ns;
  ++report_.pauses;
  if (ns > report_.pause_max_ns) report_.pause_max_ns = ns;
  std::lock_guard guard(stats_lock_);
  gc_stats& s = stats_;
  s.pause_last_ns = ns;
  s.recent_pauses_ns[s.pause_count++ % s.recent_pauses_ns.size()] = ns;
  s.pause_total_ns += ns;
  if (ns > s.pause_max_ns) s.pause_max_ns = ns;
  size_t bucket = 0;
  while (bucket + 1 < pause_histogram::kBuckets && (ns >> (bucket + 1)) != 0) ++bucket;
  ++s.pauses.count[bucket];
}

void collector::account() noexcept {
  last_end_.store(world_.nanotime(), std::memory_order_relaxed);
  std::lock_guard guard(stats_lock_);
  gc_stats& s = stats_;
  const gc_report& r = report_;
  s.cycles = r.cycle;
  ++s.by_trigger[static_cast<size_t>(r.trigger)];
  ++s.by_mode[static_cast<size_t>(mode_)];
  s.rounds += r.rounds;
  s.sweep_termination_ns += r.sweep_termination_ns;
  s.mark_ns += r.mark_ns;
  s.mark_termination_ns += r.mark_termination_ns;
  s.worker_ns += r.worker_ns;
  s.assist_ns += r.assist_ns;
  s.idle_ns += r.idle_ns;
  s.objects_rescanned += r.objects_rescanned;
  s.rescan_found += r.rescan_found;
  s.checkmark_doubtful += r.checkmark_doubtful;
  s.last_end_unix_ns = walltime();
  s.last = r;
}

gc_stats collector::read_stats() noexcept {
  gc_stats s;
  {
    std::lock_guard guard(stats_lock_);
    s = stats_;
  }
  pacer_lock_.lock();
  s.goal_bytes = pacer_.goal();
  s.next_bytes = pacer_.trigger();
  s.limited = limiter_.times();
  s.limiting = limiter_.limiting();
  pacer_lock_.unlock();
  s.assists = assists_.load(std::memory_order_relaxed);
  s.assists_by_credit = assists_by_credit_.load(std::memory_order_relaxed);
  s.finalizers_run = finalizers_.run();
  s.finalizers_waiting = finalizers_.waiting();
  s.cleanups_run = cleanups_.run();
  s.cleanups_ready = cleanups_.ready();
  s.cleanups_waiting = cleanups_.waiting();
  s.weak_cells = weaks_.size();
  s.weak_cells_cleared = weaks_.cleared();
  s.percent = percent();
  const uint64_t limit = this->limit();
  s.limit_bytes = limit < static_cast<uint64_t>(INT64_MAX) ? static_cast<int64_t>(limit) : INT64_MAX;
  s.limit_missed = limit_missed_.load(std::memory_order_relaxed);
  s.stack_memory_bytes = heap_.scavenging().stacks_resident_bytes();
  s.memory_bytes = memory_bytes();
  return s;
}

}  // namespace rt
}  // namespace warren

// Where scheduler, heap and collector meet: the live world, the hooks, and the public functions of <warren/gc.h>.
#include "runtime/gc/world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>
#include <limits>

#include "runtime/gc/barrier.h"
#include "runtime/gc/grey_page.h"
#include "runtime/memory.h"
#include "runtime/memory_limit.h"
#include "runtime/os/clock.h"
#include "runtime/os/fatal.h"
#include "runtime/sched/hooks.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/scheduler.h"
#include "runtime/sched/stop.h"
#include "runtime/write_barrier.h"
#include "warren/go.h"

namespace warren::rt {

namespace {

// Go's interval. A program that allocates little still returns what it no longer needs.
constexpr int64_t kForcedPeriod = int64_t{120} * 1'000'000'000;

class live_world final : public world {
 public:
  void stop(const char* why) override { stop_the_world(why); }
  void start() override { start_the_world(); }
  void on_system_stack(void (*fn)(void*), void* arg) override { systemstack(fn, arg); }
  void for_each_stack(stack_visitor visit, void* ctx) override { scan().all(visit, ctx); }
  void for_each_mcache(void (*visit)(void*, mcache*), void* ctx) override {
    struct both {
      void (*visit)(void*, mcache*);
      void* ctx;
    } b{visit, ctx};
    for_each_p(
        [](void* arg, p* pp) {
          const auto* b = static_cast<const both*>(arg);
          if (pp->cache != nullptr) b->visit(b->ctx, pp->cache);
        },
        &b);
  }
  void give_way() override { collection_gives_way(); }
  int64_t nanotime() override { return rt::nanotime(); }
  int procs() override { return maxprocs(); }

  void begin_marking(uint32_t cycle, bool clear_stacks) override {
    for (m* mp = getm()->sched->all_m(); mp != nullptr; mp = mp->all_link) mp->shaded.forget();
    scan().begin(cycle, clear_stacks);
  }
  void end_marking() override {
    scan().end();
    // As the collector does with the heap's pages in mcaches: what a P has put aside, no scavenger can give back.
    for_each_p([](void* pool, p* pp) { static_cast<goroutine_pool*>(pool)->flush(pp); }, &getm()->sched->pool());
  }
  void rest_of_stacks(stack_visitor visit, void* ctx) override { scan().rest(visit, ctx); }
  size_t stack_batches() override { return scan().batches(); }
  void scan_batch(size_t i, stack_visitor visit, void* ctx) override { scan().batch(i, visit, ctx); }
  size_t retry_stacks(stack_visitor visit, void* ctx) override { return scan().retry(visit, ctx); }
  void take_barriers(void (*visit)(void*, uintptr_t), void* ctx) override {
    for (m* mp = getm()->sched->all_m(); mp != nullptr; mp = mp->all_link)
      if (!mp->shaded.empty()) mp->shaded.take([&](uintptr_t word) { visit(ctx, word); });
  }

 private:
  static stack_scan& scan() noexcept { return getm()->sched->stacks_scan(); }
};

live_world& the_world() noexcept {
  static live_world w;
  return w;
}

std::atomic<memory_manager*> the_memory{nullptr};

uint64_t number_from(const char* name, uint64_t least, uint64_t most, uint64_t otherwise) {
  const char* const text = getenv(name);
  if (text == nullptr || *text == '\0') return otherwise;
  char* end = nullptr;
  errno = 0;
  const unsigned long long n = strtoull(text, &end, 10);
  if (errno != 0 || *end != '\0' || *text < '0' || *text > '9' || n < least || n > most)
    fatal("%s=%s: want a number from %llu to %llu", name, text, static_cast<unsigned long long>(least),
          static_cast<unsigned long long>(most));
  return n;
}

int percent_from_environment() {
  const char* name = "WARREN_GOGC";
  const char* text = getenv(name);
  if (text == nullptr || *text == '\0') text = getenv(name = "GOGC");
  if (text == nullptr || *text == '\0') return 100;
  if (strcmp(text, "off") == 0) return -1;
  char* end = nullptr;
  errno = 0;
  const long n = strtol(text, &end, 10);
  if (errno != 0 || *end != '\0' || end == text || n > 1'000'000) fatal("%s=%s: want a percentage up to 1000000, or off", name, text);
  return n < 0 ? -1 : static_cast<int>(n);
}

// ---- hooks ------------------------------------------------------------------------------------------------------------------------------
void on_p_created(p* pp) {
  pp->cache = memory().heap.new_mcache();
  // Who counts allocations sees none of those that are made from there.
  if (memory().options.stress == 0) pp->cache_at_hand = pp->cache;
}
void on_p_destroyed(p* pp) {
  memory().heap.delete_mcache(pp->cache);
  pp->cache = pp->cache_at_hand = nullptr;
}
// Stacks that only wait for the next goroutine become free pages, for the scavenger. Any thread.
void drain_stacks(goroutine_pool::lull l) {
  const scheduler::guest s;
  if (s) s->pool().drain(l);
}

// Called by the monitor thread, which has no P.
bool gc_is_due() {
  memory_manager* const mm = memory_if_any();
  return mm != nullptr && mm->gc.percent() >= 0 && nanotime() - mm->gc.last_end() > kForcedPeriod;
}

// Called by the monitor thread at each of its looks, every 20 µs when it is in a hurry.
int64_t memory_tick(int64_t now) {
  constexpr int64_t kEvery = 10'000'000;
  static int64_t next = 0;  // one monitor at a time
  memory_manager* const mm = memory_if_any();
  if (mm == nullptr) return INT64_MAX;
  if (now >= next) {
    next = now + kEvery;
    mm->gc.revise_memory();
    if (mm->gc.near_limit()) drain_stacks(goroutine_pool::lull::keep);
  }
  return mm->heap.scavenging().tick(now);
}

void on_run_started() {
  begin_run_of_gc();
  restart_finalizers();  // what an earlier run left
}

// Static initialization of this file, which is linked wherever collected memory is used.
const bool hooks_set = [] {
  sched_hooks.p_created = &on_p_created;
  sched_hooks.p_destroyed = &on_p_destroyed;
  sched_hooks.runtime_started = &on_run_started;
  sched_hooks.gc_is_due = &gc_is_due;
  sched_hooks.heap_scavenger = []() -> scavenger& { return memory().heap.scavenging(); };
  sched_hooks.memory_tick = &memory_tick;
  sched_hooks.forced_gc = &start_background_gc;
  return true;
}();

}  // namespace

memory_options read_memory_options() {
  memory_options o;
  o.collector.mode = gc_mode::hybrid;
  if (const char* mode = getenv("WARREN_GCMODE"); mode != nullptr && *mode != '\0' && !parse_gc_mode(mode, &o.collector.mode))
    fatal("WARREN_GCMODE=%s: want hybrid, dijkstra, yuasa or stw", mode);
  if (const char* size = getenv("WARREN_HEAP_RESERVE"); size != nullptr && *size != '\0') {
    o.heap.reserve = parse_size(size);
    if (o.heap.reserve < (size_t{64} << 20) || o.heap.reserve > (size_t{4} << 40))
      fatal("WARREN_HEAP_RESERVE=%s: want a size from 64M to 4T, such as 64G", size);
  }
  o.heap.kernel = has_kernel(page_kernel::avx512) ? page_kernel::avx512 : page_kernel::portable;
  if (const char* kernel = getenv("WARREN_GCKERNEL"); kernel != nullptr && *kernel != '\0') {
    if (!parse_page_kernel(kernel, &o.heap.kernel)) fatal("WARREN_GCKERNEL=%s: want portable or avx512", kernel);
    if (!has_kernel(o.heap.kernel))
      fatal("WARREN_GCKERNEL=%s: this processor does not have the instructions: set portable, or leave it to the runtime", kernel);
  }
  o.heap.scan_by_page = o.heap.kernel != page_kernel::portable;  // the figures: mark.h
  if (const char* mark = getenv("WARREN_GCMARK"); mark != nullptr && *mark != '\0') {
    if (strcmp(mark, "objects") != 0 && strcmp(mark, "pages") != 0) fatal("WARREN_GCMARK=%s: want objects or pages", mark);
    o.heap.scan_by_page = strcmp(mark, "pages") == 0;
  }
  o.heap.poison = number_from("WARREN_GCPOISON", 0, 1, 0) != 0;
  o.collector.percent = percent_from_environment();
  o.collector.limit = memory_limit_from_environment();
  o.collector.checkmark = number_from("WARREN_GCCHECKMARK", 0, 1, 0) != 0;
  o.collector.rescan = number_from("WARREN_GCRESCAN", 0, 1, 0) != 0;
  o.stress = number_from("WARREN_GCSTRESS", 0, ~uint64_t{0} >> 1, 0);
  o.check_ptr = number_from("WARREN_CHECKPTR", 0, 1, 0) != 0;
  return o;
}

memory_manager::memory_manager(const memory_options& o) : options(o), heap(o.heap), gc(heap, roots, the_world(), o.collector) {
  if (o.check_ptr) set_barrier_flag(detail::barrier_check, true);
}

memory_manager& memory() {
  // A function-local static is made once whoever comes first; the pointer beside it is for those who must not make it.
  static memory_manager* const made = [] {
    auto* const mm = new memory_manager(read_memory_options());
    const reservation& r = mm->heap.space();
    the_barriered_heap.base.store(r.base(), std::memory_order_relaxed);
    the_barriered_heap.bytes.store(r.bytes(), std::memory_order_relaxed);
    the_barriered_heap.take.store([](barrier_buffer& full) { memory().gc.take_buffer(full); }, std::memory_order_relaxed);
    the_memory.store(mm, std::memory_order_release);
    return mm;
  }();
  return *made;
}

memory_manager* memory_if_any() noexcept { return the_memory.load(std::memory_order_acquire); }

void start_background_gc() { run_gc(gc_trigger::background); }

}  // namespace warren::rt

namespace warren {

gc_report collect() {
  rt::rt_leave(rt::rt_enter());  // fatal, with the reason, on a thread that cannot
  return rt::run_gc(gc_trigger::manual);
}

void gc() { collect(); }

int set_gc_percent(int percent) noexcept { return rt::memory().gc.set_percent(percent); }

int64_t set_memory_limit(int64_t bytes) noexcept {
  constexpr auto kMost = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  rt::memory_manager& mm = rt::memory();
  const uint64_t wanted = bytes == std::numeric_limits<int64_t>::max() ? rt::kNoMemoryLimit : static_cast<uint64_t>(bytes);
  // Before the pacer looks whether the limit can be kept.
  if (bytes >= 0 && wanted < mm.gc.memory_bytes()) rt::drain_stacks(rt::goroutine_pool::lull::keep);
  const uint64_t was = bytes < 0 ? mm.gc.limit() : mm.gc.set_limit(wanted);
  return static_cast<int64_t>(was < kMost ? was : kMost);
}

uint64_t free_os_memory() {
  collect();
  rt::drain_stacks(rt::goroutine_pool::lull::no);
  constexpr uint64_t kPiece = 4 << 20;
  rt::scavenger& s = rt::memory().heap.scavenging();
  uint64_t done = 0;
  for (uint64_t n; (n = s.give_back(kPiece)) != 0; done += n) rt::safepoint();
  return done;
}

mem_stats read_mem_stats() {
  mem_stats out;
  rt::memory_manager* const mm = rt::memory_if_any();
  if (mm == nullptr) return out;
  out.gc = mm->gc.read_stats();
  const rt::mheap::totals t = mm->heap.read_totals();
  heap_stats& h = out.heap;
  h.bytes = t.bytes;
  h.objects = t.objects;
  h.mallocs = t.mallocs;
  h.frees = t.frees;
  h.tiny_mallocs = t.tiny_hits + t.tiny_blocks;
  h.total_bytes = t.total_bytes;
  h.spans_in_use = t.spans_in_use;
  h.span_bytes = t.span_bytes;
  h.mapped_bytes = t.used_bytes;
  h.idle_bytes = t.used_bytes > t.span_bytes ? t.used_bytes - t.span_bytes : 0;
  h.released_bytes = t.released_bytes < h.idle_bytes ? t.released_bytes : h.idle_bytes;
  h.sys_bytes = t.used_bytes + t.metadata_bytes;
  h.released_bytes_total = mm->heap.scavenging().total_bytes();
  h.release_failures = mm->heap.scavenging().failures();
  h.reserved_bytes = mm->heap.space().bytes();
  h.metadata_bytes = t.metadata_bytes;
  h.external_bytes = mm->heap.external_bytes();
  h.tiny_hits = t.tiny_hits;
  const uint64_t small = t.mallocs - t.class_mallocs[0];
  h.mcache_hits = small > t.refills ? small - t.refills : 0;
  h.mcentral_hits = t.mcentral_hits;
  h.page_cache_hits = t.page_cache_hits;
  h.mheap_hits = t.mheap_hits;
  h.heap_grows = t.grows;
  h.large_mallocs = t.large;
  static_assert(rt::kSizeClasses <= heap_stats::kMaxClasses);
  h.class_count = rt::kSizeClasses;
  for (size_t i = 0; i < rt::kSizeClasses; ++i) h.classes[i] = {rt::size_class_at(i).size, t.class_mallocs[i], t.class_frees[i]};
  return out;
}

}  // namespace warren

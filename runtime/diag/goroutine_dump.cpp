#include "runtime/diag/goroutine_dump.h"

#include <stdio.h>
#include <string.h>

#include <mutex>

#include "runtime/diag/symbols.h"
#include "runtime/os/clock.h"
#include "runtime/os/fatal.h"
#include "runtime/sched/scheduler.h"
#include "runtime/sched/stack_claim.h"

namespace warren::rt {

namespace {
constexpr size_t kMaxFrames = 100;  // Go's limit
constexpr size_t kBatch = 16;

struct portrait {
  uint64_t goid;
  g_status status;
  wait_reason reason;
  int64_t waiting_since;  // 0: not known
  const void* spawn_pc;
  uint64_t spawn_goid;
  size_t n;
  const void* pcs[kMaxFrames + 1];
};

// REQUIRES: gp is held still, if with_frames.
void draw(const g* gp, portrait* p, bool with_frames) noexcept {
  p->goid = gp->goid;
  p->reason = gp->reason;
  const bool seen = gp->seen_parks.load(std::memory_order_relaxed) == gp->parks.load(std::memory_order_relaxed);
  p->waiting_since = seen ? gp->waiting_since.load(std::memory_order_relaxed) : 0;
  p->spawn_pc = gp->spawn_pc;
  p->spawn_goid = gp->spawn_goid;
  p->n = with_frames ? fiber_frames(gp->stack_state, p->pcs, kMaxFrames + 1) : 0;
}

bool is_scheduler(const code_place& place) noexcept {
  return place.function != nullptr &&
         (strncmp(place.function, "_ZN6warren2rt", 13) == 0 || strncmp(place.function, "_ZN6warren6detail10closure_of", 29) == 0 ||
          strncmp(place.function, "warren_context_", 15) == 0);
}

void print_place(const code_place& place) noexcept {
  print_error("\t%s:0x%zx +0x%zx\n", place.module, static_cast<size_t>(place.module_address), place.offset);
}

void print(symbolizer& symbols, const portrait& p, int64_t now) noexcept {
  char minutes[40] = "";
  if (p.status == g_status::waiting && p.waiting_since != 0 && now - p.waiting_since >= 60'000'000'000)
    snprintf(minutes, sizeof minutes, ", %lld minutes", static_cast<long long>((now - p.waiting_since) / 60'000'000'000));
  print_error("goroutine %llu [%s%s]:\n", static_cast<unsigned long long>(p.goid),
              p.status == g_status::waiting ? to_string(p.reason) : to_string(p.status), minutes);
  char name[900];
  // Inside the call, not behind it: the call may be a function's last instruction.
  const auto place_of = [&](const void* pc) { return symbols.find(static_cast<const std::byte*>(pc) - 1); };
  size_t first = 0, last = p.n < kMaxFrames ? p.n : kMaxFrames;
  while (first < last && is_scheduler(place_of(p.pcs[first]))) ++first;
  while (last > first && is_scheduler(place_of(p.pcs[last - 1]))) --last;
  if (first == last) first = 0;  // one of the runtime's own: whole
  if (first == 0 && last == 0) last = p.n < kMaxFrames ? p.n : kMaxFrames;
  for (size_t i = first; i < last; ++i) {
    const code_place place = place_of(p.pcs[i]);
    print_error("%s(...)\n", function_name(place, name, sizeof name, true));
    print_place(place);
  }
  if (p.n > kMaxFrames) print_error("...additional frames elided...\n");
  if (p.n == 0) print_error("\tgoroutine running on other thread; stack unavailable\n");
  if (p.goid != 1 && p.spawn_pc != nullptr) {
    const code_place place = place_of(p.spawn_pc);
    print_error("created by %s in goroutine %llu\n", function_name(place, name, sizeof name, true),
                static_cast<unsigned long long>(p.spawn_goid));
    print_place(place);
  }
  print_error("\n");
}
}  // namespace

void dump_goroutines(scheduler& s, dump_state state) noexcept {
  goroutine_pool& pool = s.pool();
  const int64_t now = nanotime();
  symbolizer symbols;
  const uint32_t n = pool.g_count();
  for (uint32_t i = 0; i < n;) {
    g* held[kBatch];
    size_t count = 0;
    portrait portraits[kBatch];
    for (; i < n && count < kBatch; ++i) {
      g* const gp = pool.g_at(i);
      if (gp->status.load(std::memory_order_acquire) != g_status::dead) held[count++] = gp;
    }
    {
      // Held only while frames are collected: printing may block.
      std::unique_lock<mutex> guard(s.scavenger().claims(), std::defer_lock);
      size_t still = count;
      if (state == dump_state::running) {
        guard.lock();
        still = claim_stacks(held, count);
      }
      for (size_t k = 0; k < count; ++k) {
        portraits[k].status = held[k]->status.load(std::memory_order_acquire);
        const bool suspended = portraits[k].status == g_status::waiting || portraits[k].status == g_status::runnable;
        draw(held[k], &portraits[k], k < still && suspended);
      }
      if (state == dump_state::running) release_stacks(held, still);
    }
    for (size_t k = 0; k < count; ++k)
      if (portraits[k].status != g_status::dead) print(symbols, portraits[k], now);
  }
}

}  // namespace warren::rt

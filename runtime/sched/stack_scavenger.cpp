#include "runtime/sched/stack_scavenger.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>

#include "runtime/os/clock.h"
#include "runtime/os/fatal.h"
#include "runtime/sched/scheduler.h"
#include "runtime/sched/stack_claim.h"

namespace warren::rt {

namespace {
constexpr int64_t kPeriod = 10'000'000'000;      // between passes, at least
constexpr int64_t kLongParked = 10'000'000'000;  // so a goroutine is cut down 10 to 20 s after it parked, if they are not very many
constexpr int64_t kShareOfTime = 400;
constexpr uint32_t kSlice = 2048;  // goroutines per tick: 0.2 ms
constexpr uint32_t kFirstSamples = 64;
constexpr uint32_t kOneIn = 8192;  // a sample costs some 10 µs; with one in 1024 a spawn and join took 6 % longer

uint32_t one_in_from_environment() {
  const char* const text = getenv("WARREN_STACKSAMPLE");
  if (text == nullptr || *text == '\0') return kOneIn;
  char* end = nullptr;
  const unsigned long n = strtoul(text, &end, 10);
  if (*end != '\0' || *text < '0' || *text > '9' || n > 1'000'000)
    fatal("WARREN_STACKSAMPLE=%s: want 0 (no samples) or N up to 1000000 for one goroutine in N", text);
  return static_cast<uint32_t>(n);
}
}  // namespace

stack_scavenger::stack_scavenger(scheduler& s) noexcept : s_(s), one_in_(one_in_from_environment()), next_pass_(nanotime() + kPeriod) {}

uint64_t stack_scavenger::activity() const noexcept {
  uint64_t n = 0;
  for (const auto& pp : s_.all_p()) n += pp->counters.parks.read() + pp->counters.ended.read();
  return n;
}

void stack_scavenger::tick(int64_t now) noexcept {
  if (!work_.try_lock()) return;  // sysmon has other duties
  const std::lock_guard guard(work_, std::adopt_lock);
  if (cursor_ == end_) {
    if (now < next_pass_ || (!young_ && activity() == seen_activity_)) return;
    seen_activity_ = activity();
    young_ = false;
    cursor_ = 0;
    end_ = s_.pool().g_count();
    spent_ = 0;
  }
  const uint32_t to = std::min(end_, cursor_ + kSlice);
  look(cursor_, to, now, kLongParked);
  cursor_ = to;
  if (cursor_ == end_) trim_pools();
  const int64_t end = nanotime();
  spent_ += end - now;
  if (cursor_ == end_) next_pass_ = end + std::max(kPeriod, spent_ * kShareOfTime);
}

int64_t stack_scavenger::may_sleep(int64_t now) const noexcept {
  if (cursor_ != end_) return 0;
  if (!young_ && activity() == seen_activity_) return INT64_MAX;
  return std::max<int64_t>(next_pass_ - now, 0);
}

void stack_scavenger::pass(int64_t now, int64_t long_parked) noexcept {
  const std::lock_guard guard(work_);
  look(0, s_.pool().g_count(), now, long_parked);
  trim_pools();
}

void stack_scavenger::trim_pools() noexcept {
  s_.pool().trim();
  if (s_.pool().newborns().trim() != 0 || s_.pool().may_trim()) young_ = true;
}

// Goroutines [from, to) of the table.
void stack_scavenger::look(uint32_t from, uint32_t to, int64_t now, int64_t long_parked) noexcept {
  const std::lock_guard guard(claims_);
  g* batch[kBatch];
  size_t n = 0;
  for (uint32_t i = from; i < to; ++i) {
    g* const gp = s_.pool().g_at(i);
    if (gp->status.load(std::memory_order_acquire) != g_status::waiting) continue;
    const uint32_t wait = gp->parks.load(std::memory_order_relaxed);
    if (wait != gp->seen_parks.load(std::memory_order_relaxed) || gp->waiting_since.load(std::memory_order_relaxed) == 0) {
      gp->seen_parks.store(wait, std::memory_order_relaxed);
      gp->waiting_since.store(now, std::memory_order_relaxed);
    }
    if (wait == gp->cut_parks) continue;
    if (now - gp->waiting_since.load(std::memory_order_relaxed) < long_parked) {
      young_ = true;
      continue;
    }
    batch[n++] = gp;
    if (n == kBatch) {
      cut(batch, n);
      n = 0;
    }
  }
  if (n > 0) cut(batch, n);
}

void stack_scavenger::cut(g** gs, size_t n) noexcept {
  const size_t held = claim_stacks(gs, n);
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  for (size_t i = 0; i < held; ++i) {
    g* const gp = gs[i];
    // It may have run since look saw it, and parked again: the claim makes it true what the fields say, if not that it has waited for long.
    if (gp->parks.load(std::memory_order_relaxed) != gp->seen_parks.load(std::memory_order_relaxed)) continue;
    if (gp->stack_sampled) measure(gp);  // it will not go deeper soon, and the trace of how deep it went is about to go
    gp->stack_sampled = false;
    std::byte* const low = gp->stack_state.low;
    auto* const sp_page = reinterpret_cast<std::byte*>(reinterpret_cast<uintptr_t>(gp->stack_state.ctx.sp) & ~(page - 1));
    if (sp_page > low) madvise(low, static_cast<size_t>(sp_page - low), MADV_DONTNEED);
    gp->cut_parks = gp->seen_parks.load(std::memory_order_relaxed);
    cut_.fetch_add(1, std::memory_order_relaxed);
  }
  release_stacks(gs, held);
}

uint32_t& stack_scavenger::countdown_of(p* pp) noexcept { return pp->stack_sample_countdown; }

void stack_scavenger::begin_sample(p* pp, g* gp, uint32_t random) noexcept {
  if (one_in_ == 0) {
    pp->stack_sample_countdown = UINT32_MAX;
    return;
  }
  // Around the wanted mean, so that spawns which come in a rhythm are all met.
  const bool first = pp->counters.scheduled.read() < kFirstSamples;
  pp->stack_sample_countdown = first || one_in_ == 1 ? 1 : 1 + random % (2 * one_in_ - 1);
  clear_stack(stack_low(gp->slot), reinterpret_cast<std::byte*>(gp));
  gp->stack_sampled = true;
}

void stack_scavenger::measure(g* gp) noexcept {
  std::byte* const low = stack_low(gp->slot);
  auto* const high = reinterpret_cast<std::byte*>(gp);
  use_.record(gp->spawn_pc, stack_depth(low, high), static_cast<size_t>(high - low));
}

}  // namespace warren::rt

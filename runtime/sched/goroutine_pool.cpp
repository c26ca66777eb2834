#include "runtime/sched/goroutine_pool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <iterator>
#include <mutex>
#include <new>

#include "runtime/os/fatal.h"
#include "runtime/sched/p.h"
#include "runtime/sched/stack_claim.h"

namespace warren::rt {

namespace {
constexpr uint32_t kDeadPerP = WARREN_CAPACITY(64, 4);  // Go's figures (gfput/gfget): above 64 a P gives goroutines away until 32 are left
constexpr uint32_t kDeadKept = WARREN_CAPACITY(32, 2);
constexpr uint32_t kGoidBatch = WARREN_CAPACITY(16, 2);  // Go's _GoidCacheBatch
// What stays in the pool in any case, per class: a lull of some seconds should not cost the next hundred goroutines a page fault each.
constexpr size_t kAlwaysKept[kStackClasses] = {256, 8, 2};

stack_arena::options arena_options() {
  stack_arena::options o;
  const char* const mode = getenv("WARREN_STACKGUARD");
  if (mode == nullptr || *mode == '\0') return o;
  for (const guard_mode m :
       {guard_mode::automatic, guard_mode::vector_markers, guard_mode::markers, guard_mode::protection, guard_mode::canary}) {
    if (strcmp(mode, to_string(m)) == 0) {
      o.forced = m;
      return o;
    }
  }
  fatal("WARREN_STACKGUARD=%s: want automatic, vector_markers, markers, protection or canary", mode);
}
}  // namespace

goroutine_pool::goroutine_pool() : stacks_(arena_options()) {
  const stack_arena::statistics s = stacks_.stats();
  size_t slots = 0;
  for (int c = 0; c < kStackClasses; ++c) slots += s.slots_capacity[c];
  table_bytes_ = slots * (sizeof(g*) + sizeof(uint8_t));
  void* table = mmap(nullptr, table_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (table == MAP_FAILED)
    fatal("cannot reserve %zu MiB of address space for the table of goroutines; raise RLIMIT_AS", table_bytes_ >> 20);
  all_g_ = static_cast<g**>(table);
  auto* listed = reinterpret_cast<uint8_t*>(all_g_ + slots);
  for (int c = 0; c < kStackClasses; ++c) {
    dead_[c].listed = listed;
    listed += s.slots_capacity[c];
  }
}

// The frames of goroutines that have run are abandoned with their stacks.
goroutine_pool::~goroutine_pool() { munmap(all_g_, table_bytes_); }

// In a slot that was free.
g* goroutine_pool::place_g(uint8_t stack_class, size_t number) {
  std::byte* const slot = stacks_.slot_at(stack_class, number);
  std::byte* const at = control_block(slot, stack_class, sizeof(g));
  uint8_t& listed = dead_[stack_class].listed[number];
  g* gp;
  if (listed != 0) {
    // A dead g, or zeros. Not constructed anew: others may be reading its status.
    gp = reinterpret_cast<g*>(at);
    release_freed(gp);
    gp->sleep_timer.index = -1;
  } else {
    gp = ::new (at) g;
  }
  gp->slot = slot;
  gp->stack_class = stack_class;
  if (listed != 0) return gp;
  listed = 1;
  const std::lock_guard guard(lock_);
  const uint32_t n = g_count_.load(std::memory_order_relaxed);  // there is a place for every slot of the arena
  all_g_[n] = gp;
  g_count_.store(n + 1, std::memory_order_release);
  return gp;
}

g* goroutine_pool::g_get(p* pp, uint8_t stack_class) {
  if (stack_class == 0) {
    if (g* gp = pp->dead_goroutines) {
      pp->dead_goroutines = static_cast<g*>(gp->next);
      --pp->dead_count;
      pp->counters.stacks_reused.add();
      return gp;
    }
  }
  return g_get_slow(pp, stack_class);
}

// Not inline: the way above needs no frame.
[[gnu::noinline]] g* goroutine_pool::g_get_slow(p* pp, uint8_t stack_class) {
  pp->counters.stacks_taken.add();
  dead_list& dead = dead_[stack_class];
  lock_.lock();
  g* gp = dead.first;
  if (gp != nullptr) {
    dead.first = static_cast<g*>(gp->next);
    --dead.count;
    // A class-normal P takes a few more along, so that a burst does not come here for each.
    for (uint32_t i = 0; stack_class == 0 && i < kDeadKept / 2 && dead.first != nullptr; ++i) {
      g* more = dead.first;
      dead.first = static_cast<g*>(more->next);
      --dead.count;
      more->next = pp->dead_goroutines;
      pp->dead_goroutines = more;
      ++pp->dead_count;
    }
  }
  dead.least = std::min(dead.least, dead.count);
  lock_.unlock();
  if (gp != nullptr) return gp;
  if (stack_class == 0) {
    if (pp->stack_pages.empty()) pp->stack_pages = stacks_.allocate_group(0);
    if (!pp->stack_pages.empty()) return place_g(0, pp->stack_pages.alloc(1));
  } else {
    std::byte* slot;
    if (stacks_.allocate(stack_class, &slot, 1) == 1) return place_g(stack_class, stacks_.number_of(stack_class, slot));
  }
  fatal(
      "no stack left: %u goroutines of all sizes have one, and the address space reserved for %zu KiB stacks is used up; "
      "find what never ends in the goroutine dump, or raise RLIMIT_AS",
      g_count(), stack_slot_size(stack_class) / 1024);
}

void goroutine_pool::g_put(p* pp, g* gp) noexcept {
  if (gp->stack_class != 0) return put_into_pool(gp);
  gp->next = pp->dead_goroutines;
  pp->dead_goroutines = gp;
  if (++pp->dead_count >= kDeadPerP) give_away(pp);
}

[[gnu::noinline]] void goroutine_pool::give_away(p* pp) noexcept {
  const std::lock_guard guard(lock_);
  while (pp->dead_count > kDeadKept) {
    g* give = pp->dead_goroutines;
    pp->dead_goroutines = static_cast<g*>(give->next);
    give->next = dead_[0].first;
    dead_[0].first = give;
    ++dead_[0].count;
    --pp->dead_count;
  }
}

[[gnu::noinline]] void goroutine_pool::put_into_pool(g* gp) noexcept {
  const std::lock_guard guard(lock_);
  dead_list& dead = dead_[gp->stack_class];
  gp->next = dead.first;
  dead.first = gp;
  ++dead.count;
}

void goroutine_pool::flush(p* pp) noexcept {
  if (!pp->stack_pages.empty()) stacks_.release_group(0, pp->stack_pages);
}

void goroutine_pool::trim() noexcept {
  for (int c = 0; c < kStackClasses; ++c) {
    dead_list& dead = dead_[c];
    lock_.lock();
    const size_t surplus = dead.least;
    dead.least = dead.count;
    lock_.unlock();
    if (surplus > kAlwaysKept[c]) free_dead(c, surplus - kAlwaysKept[c]);
  }
}

bool goroutine_pool::may_trim() const noexcept {
  const std::lock_guard guard(lock_);
  for (int c = 0; c < kStackClasses; ++c)
    if (dead_[c].least > kAlwaysKept[c]) return true;
  return false;
}

void goroutine_pool::drain(lull l) noexcept {
  for (int c = 0; c < kStackClasses; ++c) {
    lock_.lock();
    const size_t count = dead_[c].count;
    lock_.unlock();
    const size_t kept = l == lull::keep ? kAlwaysKept[c] : 0;
    if (count > kept) free_dead(c, count - kept);
  }
}

// Up to n of a class. The lock is held for some dozens at a time, as each is a cache miss.
void goroutine_pool::free_dead(int cls, size_t n) noexcept {
  dead_list& dead = dead_[cls];
  while (n > 0) {
    std::byte* slots[64];
    size_t freed = 0;
    size_t seen = 0;
    g* claimed = nullptr;
    lock_.lock();
    for (; seen < std::min(n, std::size(slots)) && dead.first != nullptr; ++seen) {
      g* gp = dead.first;
      dead.first = static_cast<g*>(gp->next);
      if (claim_freed(gp)) {
        slots[freed++] = gp->slot;
      } else {
        gp->next = claimed;
        claimed = gp;
      }
    }
    while (claimed != nullptr) {  // another time
      g* gp = claimed;
      claimed = static_cast<g*>(gp->next);
      gp->next = dead.first;
      dead.first = gp;
    }
    dead.count -= freed;
    dead.least = std::min(dead.least, dead.count);
    lock_.unlock();
    if (freed == 0) break;
    stacks_.release(cls, slots, freed);
    n -= seen;
  }
}

uint64_t goroutine_pool::next_goid(p* pp) noexcept {
  if (pp->goid_next == pp->goid_end) {
    pp->goid_next = goid_.fetch_add(kGoidBatch, std::memory_order_relaxed) + 1;
    pp->goid_end = pp->goid_next + kGoidBatch;
  }
  return pp->goid_next++;
}

}  // namespace warren::rt

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

namespace warren::rt {

namespace {
constexpr uint32_t kDeadPerP = WARREN_CAPACITY(64, 4);  // Go's figures (gfput/gfget): above 64 a P gives goroutines away until 32 are left
constexpr uint32_t kDeadKept = WARREN_CAPACITY(32, 2);
constexpr uint32_t kGoidBatch = WARREN_CAPACITY(16, 2);  // Go's _GoidCacheBatch
// What trim leaves in the pool in any case, per class: a lull of some seconds should not cost the next hundred goroutines a page fault
// each.
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
  table_bytes_ = slots * (sizeof(g*) + sizeof(uint32_t));
  void* table = mmap(nullptr, table_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (table == MAP_FAILED)
    fatal("cannot reserve %zu MiB of address space for the table of goroutines; raise RLIMIT_AS", table_bytes_ >> 20);
  all_g_ = static_cast<g**>(table);
  auto* numbers = reinterpret_cast<uint32_t*>(all_g_ + slots);
  for (int c = 0; c < kStackClasses; ++c) {
    dead_[c].emptied = numbers;
    numbers += s.slots_capacity[c];
  }
}

// The frames of goroutines that have run are abandoned with their stacks.
goroutine_pool::~goroutine_pool() { munmap(all_g_, table_bytes_); }

g* goroutine_pool::make_g(std::byte* slot, uint8_t stack_class) {
  g* gp = ::new (control_block(slot, stack_class, sizeof(g))) g;
  gp->slot = slot;
  gp->stack_class = stack_class;
  lock_.lock();
  const uint32_t n = g_count_.load(std::memory_order_relaxed);  // there is a place for every slot of the arena
  gp->index = n;
  all_g_[n] = gp;
  g_count_.store(n + 1, std::memory_order_release);
  lock_.unlock();
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
  pp->counters.stacks_taken.add();
  dead_list& dead = dead_[stack_class];
  uint32_t number = UINT32_MAX;
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
  } else if (dead.emptied_count > 0) {
    number = dead.emptied[--dead.emptied_count];
  }
  dead.least = std::min(dead.least, dead.count);
  lock_.unlock();
  if (gp != nullptr) return gp;
  if (number != UINT32_MAX) {
    // All zero, as a new one is but for what is set here. Not constructed anew: others may be reading its status.
    gp = all_g_[number];
    gp->sleep_timer.index = -1;
    gp->slot = stacks_.slot_of(gp);
    gp->stack_class = stack_class;
    gp->index = number;
    return gp;
  }
  if (stack_class == 0) {
    if (pp->stack_cache_count == 0)
      pp->stack_cache_count = static_cast<uint32_t>(stacks_.allocate(0, pp->stack_cache, std::size(pp->stack_cache)));
    if (pp->stack_cache_count > 0) return make_g(pp->stack_cache[--pp->stack_cache_count], 0);
  } else {
    std::byte* slot;
    if (stacks_.allocate(stack_class, &slot, 1) == 1) return make_g(slot, stack_class);
  }
  fatal(
      "no stack left: %u goroutines of all sizes have one, and the address space reserved for %zu KiB stacks is used up; "
      "find what never ends in the goroutine dump, or raise RLIMIT_AS",
      g_count(), stack_slot_size(stack_class) / 1024);
}

void goroutine_pool::g_put(p* pp, g* gp) noexcept {
  if (gp->stack_class == 0) {
    gp->next = pp->dead_goroutines;
    pp->dead_goroutines = gp;
    if (++pp->dead_count < kDeadPerP) return;
    lock_.lock();
    while (pp->dead_count > kDeadKept) {
      g* give = pp->dead_goroutines;
      pp->dead_goroutines = static_cast<g*>(give->next);
      give->next = dead_[0].first;
      dead_[0].first = give;
      ++dead_[0].count;
      --pp->dead_count;
    }
    lock_.unlock();
    return;
  }
  dead_list& dead = dead_[gp->stack_class];
  lock_.lock();
  gp->next = dead.first;
  dead.first = gp;
  ++dead.count;
  lock_.unlock();
}

size_t goroutine_pool::trim() noexcept {
  size_t total = 0;
  for (int c = 0; c < kStackClasses; ++c) {
    dead_list& dead = dead_[c];
    lock_.lock();
    const size_t surplus = dead.least;
    dead.least = dead.count;
    lock_.unlock();
    if (surplus <= kAlwaysKept[c]) continue;
    give_back(c, surplus - kAlwaysKept[c]);
    total += surplus - kAlwaysKept[c];
  }
  return total;
}

// Up to n of a class. Collected first and sorted by address, so that neighbours become one call: a burst of a million is a few hundred
// calls. The lock is held for some dozens at a time, as each is a cache miss.
void goroutine_pool::give_back(int cls, size_t n) noexcept {
  constexpr size_t kAtATime = 64;
  dead_list& dead = dead_[cls];
  lock_.lock();
  // Nobody else adds to the emptied ones, and those taken meanwhile leave a gap before the work space: closed below.
  uint32_t* const work = dead.emptied + dead.emptied_count;
  size_t got = 0;
  while (got < n && dead.first != nullptr) {
    g* gp = dead.first;
    dead.first = static_cast<g*>(gp->next);
    --dead.count;
    work[got++] = gp->index;
    if (got % kAtATime == 0) {
      lock_.unlock();
      lock_.lock();
    }
  }
  dead.least = std::min(dead.least, dead.count);
  lock_.unlock();
  std::sort(work, work + got, [this](uint32_t a, uint32_t b) { return all_g_[a] > all_g_[b]; });  // the lowest on top
  const size_t size = stack_slot_size(cls);
  for (size_t i = 0; i < got;) {
    size_t run = 1;
    while (i + run < got && stacks_.slot_of(all_g_[work[i + run]]) + size == stacks_.slot_of(all_g_[work[i + run - 1]])) ++run;
    // Guards stay, whichever kind they are.
    madvise(stacks_.slot_of(all_g_[work[i + run - 1]]), run * size, MADV_DONTNEED);
    i += run;
  }
  for (size_t i = 0; i < got;) {
    const std::lock_guard guard(lock_);
    for (size_t end = std::min(got, i + kAtATime * 64); i < end; ++i) dead.emptied[dead.emptied_count++] = work[i];
  }
}

size_t goroutine_pool::emptied() const noexcept {
  const std::lock_guard guard(lock_);
  size_t n = 0;
  for (const dead_list& d : dead_) n += d.emptied_count;
  return n;
}

uint64_t goroutine_pool::next_goid(p* pp) noexcept {
  if (pp->goid_next == pp->goid_end) {
    pp->goid_next = goid_.fetch_add(kGoidBatch, std::memory_order_relaxed) + 1;
    pp->goid_end = pp->goid_next + kGoidBatch;
  }
  return pp->goid_next++;
}

}  // namespace warren::rt

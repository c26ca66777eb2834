#include "runtime/sched/goroutine_pool.h"

#include <sys/mman.h>

#include <new>

#include "runtime/os/fatal.h"
#include "runtime/sched/p.h"

namespace warren::rt {

namespace {
constexpr uint32_t kSlabNewborns = 512;  // 64 KiB at a time
constexpr uint32_t kNewbornsPerP = 512;  // a P keeps at most so many, and gives half away beyond
constexpr uint32_t kDeadPerP = 64;       // Go's figures (gfput/gfget): above 64 a P gives goroutines away until 32 are left
constexpr uint32_t kDeadKept = 32;
constexpr uint32_t kGoidBatch = 16;  // Go's _GoidCacheBatch
constexpr size_t kMaxG =
    size_t{1} << 24;  // 16 million stacks of 64 KiB are the 1 TiB nobody reserves: the table costs 128 MiB of address space
}  // namespace

goroutine_pool::goroutine_pool() {
  void* table = mmap(nullptr, kMaxG * sizeof(g*), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (table == MAP_FAILED)
    fatal("cannot reserve %zu MiB of address space for the table of goroutines; raise RLIMIT_AS", (kMaxG * sizeof(g*)) >> 20);
  all_g_ = static_cast<g**>(table);
}

goroutine_pool::~goroutine_pool() {
  // Closures of goroutines that never ran are destroyed; frames of those that did are abandoned with their stacks.
  for (const slab& s : slabs_) {
    for (uint32_t i = 0; i < s.count; ++i) {
      detail::newborn& nb = s.items[i];
      if (nb.type == nullptr || nb.borrowed) continue;
      if (nb.constructed) nb.type->destroy(nb.closure);
      if (nb.closure != nb.storage) ::operator delete (nb.closure, std::align_val_t{nb.type->align});
    }
    munmap(s.items, size_t{s.count} * sizeof(detail::newborn));
  }
  munmap(all_g_, kMaxG * sizeof(g*));
}

detail::newborn* goroutine_pool::newborn_get(p* pp) {
  if (pp->free_newborns == nullptr) {
    mutex& l = lock_;
    l.lock();
    while (free_newborns_ != nullptr && pp->free_newborn_count < kNewbornsPerP / 2) {
      detail::newborn* nb = free_newborns_;
      free_newborns_ = static_cast<detail::newborn*>(nb->next);
      nb->next = pp->free_newborns;
      pp->free_newborns = nb;
      ++pp->free_newborn_count;
    }
    if (pp->free_newborns == nullptr) {
      void* memory = mmap(nullptr, kSlabNewborns * sizeof(detail::newborn), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (memory == MAP_FAILED) {
        l.unlock();
        throw std::bad_alloc();
      }
      auto* items = static_cast<detail::newborn*>(memory);
      for (uint32_t i = 0; i < kSlabNewborns; ++i) {
        auto* nb = ::new (&items[i]) detail::newborn;
        nb->is_newborn = true;
        nb->next = pp->free_newborns;
        pp->free_newborns = nb;
      }
      pp->free_newborn_count += kSlabNewborns;
      slabs_.push_back({items, kSlabNewborns});
    }
    l.unlock();
  }
  detail::newborn* nb = pp->free_newborns;
  pp->free_newborns = static_cast<detail::newborn*>(nb->next);
  --pp->free_newborn_count;
  return nb;
}

void goroutine_pool::newborn_put(p* pp, detail::newborn* nb) noexcept {
  nb->type = nullptr;
  nb->next = pp->free_newborns;
  pp->free_newborns = nb;
  if (++pp->free_newborn_count <= 2 * kNewbornsPerP) return;
  lock_.lock();
  while (pp->free_newborn_count > kNewbornsPerP) {
    detail::newborn* give = pp->free_newborns;
    pp->free_newborns = static_cast<detail::newborn*>(give->next);
    give->next = free_newborns_;
    free_newborns_ = give;
    --pp->free_newborn_count;
  }
  lock_.unlock();
}

g* goroutine_pool::make_g(std::byte* slot, uint8_t stack_class) {
  g* gp = ::new (control_block(slot, stack_class, sizeof(g))) g;
  gp->slot = slot;
  gp->stack_class = stack_class;
  lock_.lock();
  const uint32_t n = g_count_.load(std::memory_order_relaxed);
  if (n >= kMaxG) fatal("more than %zu goroutine stacks; find what never ends in the goroutine dump", kMaxG);
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
  lock_.lock();
  g* gp = dead_[stack_class];
  if (gp != nullptr) {
    dead_[stack_class] = static_cast<g*>(gp->next);
    // A class-normal P takes a few more along, so that a burst does not come here for each.
    for (uint32_t i = 0; stack_class == 0 && i < kDeadKept / 2 && dead_[0] != nullptr; ++i) {
      g* more = dead_[0];
      dead_[0] = static_cast<g*>(more->next);
      more->next = pp->dead_goroutines;
      pp->dead_goroutines = more;
      ++pp->dead_count;
    }
  }
  lock_.unlock();
  if (gp != nullptr) return gp;
  if (stack_class == 0) {
    if (pp->stack_cache_count == 0) pp->stack_cache_count = static_cast<uint32_t>(stacks_.allocate(0, pp->stack_cache, 16));
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
      give->next = dead_[0];
      dead_[0] = give;
      --pp->dead_count;
    }
    lock_.unlock();
    return;
  }
  lock_.lock();
  gp->next = dead_[gp->stack_class];
  dead_[gp->stack_class] = gp;
  lock_.unlock();
}

uint64_t goroutine_pool::next_goid(p* pp) noexcept {
  if (pp->goid_next == pp->goid_end) {
    pp->goid_next = goid_.fetch_add(kGoidBatch, std::memory_order_relaxed) + 1;
    pp->goid_end = pp->goid_next + kGoidBatch;
  }
  return pp->goid_next++;
}

}  // namespace warren::rt

#include "runtime/sched/stack_scan.h"

#include <sched.h>
#include <sys/mman.h>

#include <mutex>

#include "runtime/os/fatal.h"
#include "runtime/sched/scheduler.h"
#include "runtime/sched/stack_claim.h"
#include "runtime/sched/stop.h"
#include "warren/detail/barrier.h"

namespace warren::rt {

using detail::newborn;

constinit std::atomic<uint32_t> marking_cycle{0};

namespace {

// What the System V ABI of x86-64 lets a function use below its stack pointer. (AAPCS64 has none; scanning more does no harm.)
constexpr ptrdiff_t kRedZone = 128;

const std::byte* closure_end(const newborn& nb) noexcept {
  return static_cast<const std::byte*>(nb.closure) + nb.type->size / sizeof(void*) * sizeof(void*);
}

// What belongs to gp beside its frames.
void visit_words(g* gp, stack_scan::visitor visit, void* ctx) noexcept {
  visit(ctx, &gp->park_param, &gp->park_param + 1, true);
  visit(ctx, &gp->locals, &gp->locals + 1, true);
  if (const newborn* nb = gp->birth; nb != nullptr && nb->type != nullptr) visit(ctx, nb->closure, closure_end(*nb), false);
  for (const newborn* nb = gp->making; nb != nullptr; nb = static_cast<const newborn*>(nb->next))
    visit(ctx, nb->closure, closure_end(*nb), false);
}

// REQUIRES: world stopped. False: it is dead or the runtime's.
bool visit_stopped(g* gp, uint32_t cycle, stack_scan::visitor visit, void* ctx) noexcept {
  const g_status s = gp->status.load(std::memory_order_acquire);
  if (s == g_status::dead || gp->system.load(std::memory_order_relaxed)) return false;
  const bool exact = cycle != 0 && gp->exact == cycle;
  const m* const mp = s == g_status::running ? gp->holder.load(std::memory_order_acquire) : nullptr;
  if (mp != nullptr && mp->held.load(std::memory_order_acquire) == 1) {
    visit(ctx, static_cast<const std::byte*>(mp->held_sp) - kRedZone, gp, false);
    if (mp->signal_stack.contains(mp->held_frame)) visit(ctx, mp->held_frame, mp->signal_stack.top(), false);
  } else {
    // Running all the same: the goroutine that stopped the world, suspended by systemstack; or one on its way to the scheduler's stack.
    visit(ctx, s == g_status::syscall ? gp->blocking_sp : gp->stack_state.ctx.sp, gp, exact);
  }
  visit_words(gp, visit, ctx);
  return true;
}

}  // namespace

// ---- g_table --------------------------------------------------------------------------------------------------------------------------
g_table::~g_table() {
  if (items_ != nullptr) munmap(items_, capacity_ * sizeof(g*));
}

void g_table::add(g* gp) noexcept {
  if (size_ == capacity_) {
    const size_t capacity = capacity_ == 0 ? 4096 / sizeof(g*) : capacity_ * 2;
    void* const p = items_ == nullptr ? mmap(nullptr, capacity * sizeof(g*), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                                      : mremap(items_, capacity_ * sizeof(g*), capacity * sizeof(g*), MREMAP_MAYMOVE);
    if (p == MAP_FAILED) fatal("no memory for the collector's list of %zu goroutines", capacity);
    items_ = static_cast<g**>(p);
    capacity_ = capacity;
  }
  items_[size_++] = gp;
}

// ---- the cycle ------------------------------------------------------------------------------------------------------------------------
void stack_scan::begin(uint32_t cycle, bool clear) noexcept {
  cycle_ = cycle;
  clear_ = clear;
  goroutines_ = s_.pool().g_count();
  stack_batches_ = (goroutines_ + kBatch - 1) / kBatch;
  newborn_slabs_ = s_.pool().newborns().slabs();
  busy_.clear();
  listed_.clear();
  marking_cycle.store(cycle, std::memory_order_seq_cst);
}

void stack_scan::end() noexcept { marking_cycle.store(0, std::memory_order_seq_cst); }

// Without a claim, so gp may change meanwhile; but what begins during the marking needs no scan, whatever it was before. The runtime's own
// are left out here already: the collector's driver, which asks, would always find itself busy.
bool stack_scan::may_need_scan(const g* gp) const noexcept {
  return gp->status.load(std::memory_order_acquire) != g_status::dead && gp->scanned.load(std::memory_order_relaxed) != cycle_ &&
         !gp->system.load(std::memory_order_relaxed);
}

void stack_scan::batch(size_t i, visitor visit, void* ctx) noexcept {
  if (i >= stack_batches_) return scan_slab(static_cast<uint32_t>(i - stack_batches_), visit, ctx);
  g* gs[kBatch];
  size_t n = 0;
  const auto first = static_cast<uint32_t>(i * kBatch);
  for (uint32_t k = first; k < first + kBatch && k < goroutines_; ++k) {
    g* const gp = s_.pool().g_at(k);
    if (may_need_scan(gp)) gs[n++] = gp;
  }
  claim_and_scan(gs, n, visit, ctx);
}

void stack_scan::claim_and_scan(g** gs, size_t n, visitor visit, void* ctx) noexcept {
  if (n == 0) return;
  const void* sps[kBatch];
  const size_t held = claim_stacks(gs, n, sps);
  for (size_t i = 0; i < held; ++i) {
    g* const gp = gs[i];
    if (!gp->system.load(std::memory_order_relaxed)) {
      visit(ctx, sps[i], gp, true);
      visit_words(gp, visit, ctx);
      // What is below belongs to nobody (stack_claim.h), except to the code that a blocking region runs.
      if (clear_ && sps[i] != gp->blocking_sp) {
        clear_stack(stack_low(gp->slot), const_cast<std::byte*>(static_cast<const std::byte*>(sps[i])));
        gp->exact = cycle_;
      }
      if ((gp->shares.load(std::memory_order_relaxed) & shares_own) != 0) list(gp);
    }
    gp->scanned.store(cycle_, std::memory_order_relaxed);
  }
  release_stacks(gs, held);
  if (held == n) return;
  const std::lock_guard guard(lock_);
  for (size_t i = held; i < n; ++i)
    if (gs[i]->status.load(std::memory_order_relaxed) != g_status::dead) busy_.add(gs[i]);
}

size_t stack_scan::retry(visitor visit, void* ctx) noexcept {
  {
    const std::lock_guard guard(lock_);
    busy_.swap(again_);
  }
  g* gs[kBatch];
  for (size_t i = 0; i < again_.size();) {
    size_t n = 0;
    for (; i < again_.size() && n < kBatch; ++i) {
      g* const gp = again_[i];
      if (may_need_scan(gp)) gs[n++] = gp;
    }
    claim_and_scan(gs, n, visit, ctx);
  }
  again_.clear();
  lock_.lock();
  const size_t left = busy_.size();
  lock_.unlock();
  if (left > 0) s_.ask_all(request_preempt);
  return left;
}

namespace {
// Not instrumented: a slab that is used for the first time is written by ordinary stores.
__attribute__((no_sanitize("thread"))) bool seems_ready(const newborn& nb) noexcept {
  return __atomic_load_n(&nb.stage, __ATOMIC_RELAXED) == detail::newborn_ready;
}
}  // namespace

void stack_scan::scan_slab(uint32_t slab, visitor visit, void* ctx) noexcept {
  newborn* const items = s_.pool().newborns().slab_at(slab);
  for (uint32_t i = 0; i < newborn_pool::kSlabNewborns; ++i) {
    newborn& nb = items[i];
    uint8_t ready = detail::newborn_ready;
    if (!seems_ready(nb) ||
        !__atomic_compare_exchange_n(&nb.stage, &ready, uint8_t{detail::newborn_scanning}, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
      continue;
    visit(ctx, nb.closure, closure_end(nb), true);
    __atomic_store_n(&nb.stage, detail::newborn_ready, __ATOMIC_RELEASE);
  }
}

void stack_scan::rest(visitor visit, void* ctx) noexcept {
  for (size_t i = 0; i < busy_.size(); ++i) {
    if (!visit_stopped(busy_[i], cycle_, visit, ctx)) continue;
    busy_[i]->scanned.store(cycle_, std::memory_order_relaxed);
    if ((busy_[i]->shares.load(std::memory_order_relaxed) & shares_own) != 0) list(busy_[i]);  // for further rounds
  }
  busy_.clear();
  for (size_t i = 0; i < listed_.size(); ++i) visit_stopped(listed_[i], cycle_, visit, ctx);
  for (const m* mp = s_.all_m(); mp != nullptr; mp = mp->all_link)
    if (mp->held.load(std::memory_order_acquire) == 1 && mp->curg != nullptr) visit_stopped(mp->curg, cycle_, visit, ctx);
}

void stack_scan::all(visitor visit, void* ctx) noexcept {
  goroutine_pool& pool = s_.pool();
  const uint32_t cycle = marking_cycle.load(std::memory_order_relaxed);
  const uint32_t n = pool.g_count();
  for (uint32_t i = 0; i < n; ++i) visit_stopped(pool.g_at(i), cycle, visit, ctx);
  pool.newborns().for_each([&](const newborn& nb) {
    if (nb.stage == detail::newborn_ready) visit(ctx, nb.closure, closure_end(nb), true);
  });
}

// ---- the scheduler's part ---------------------------------------------------------------------------------------------------------------
void stack_scan::list(g* gp) noexcept {
  if (gp->listed.exchange(cycle_, std::memory_order_relaxed) == cycle_) return;
  const std::lock_guard guard(lock_);
  listed_.add(gp);
}

void stack_scan::runs(g* gp) noexcept {
  if ((gp->shares.load(std::memory_order_relaxed) & shares_addresses) != 0) list(gp);
}

void stack_scan::born(g* gp, newborn* nb) noexcept {
  if (clear_) {
    clear_stack(stack_low(gp->slot), reinterpret_cast<std::byte*>(gp));
    gp->exact = cycle_;
  }
  detail::barrier_words(nb->closure, nb->type->size / sizeof(void*) * sizeof(void*));
  gp->scanned.store(cycle_, std::memory_order_relaxed);
}

void take_newborn_slow(newborn* nb) noexcept {
  for (;;) {
    uint8_t ready = detail::newborn_ready;
    if (__atomic_compare_exchange_n(&nb->stage, &ready, uint8_t{detail::newborn_started}, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
      return;
    if (ready != detail::newborn_scanning) {
      __atomic_store_n(&nb->stage, detail::newborn_started, __ATOMIC_RELAXED);
      return;
    }
    sched_yield();
  }
}

__attribute__((no_sanitize("address", "thread"))) uint8_t note_shared_words(g* gp, const void* lo, size_t bytes) noexcept {
  const m* const mp = getm();
  if (mp == nullptr) return 0;  // a thread outside: what it holds it holds by roots
  const scheduler& s = *mp->sched;
  const stack_arena& stacks = const_cast<scheduler&>(s).pool().stacks();
  const auto* const words = static_cast<void* const*>(lo);
  bool any = false;
  bool own = false;
  for (size_t i = 0; i < bytes / sizeof(void*); ++i) {
    const void* const word = words[i];
    if (!stacks.contains(word)) continue;
    any = true;
    own = own || (gp != nullptr && stacks.slot_of(word) == gp->slot);
  }
  if (!any) return 0;
  if (own && (gp->shares.load(std::memory_order_relaxed) & shares_own) == 0) {
    gp->shares.fetch_or(shares_own, std::memory_order_relaxed);
    if (marking_cycle.load(std::memory_order_relaxed) != 0) const_cast<scheduler&>(s).stacks_scan().shared(gp);
  }
  return shares_addresses;
}

}  // namespace warren::rt

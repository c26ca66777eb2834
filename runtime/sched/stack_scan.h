// Scanning the stacks of goroutines while they live on: which are scanned when, and which must be looked at again with the world stopped.
//
// A cycle's marking begins with the world stopped (begin). Then batches of goroutines are claimed (sched/stack_claim.h), scanned and
// released, by any number of workers. A goroutine that runs at that moment cannot be claimed: it is noted as busy. Before the marking ends
// the world is stopped once more, and rest() scans
//   busy goroutines           that no later attempt could claim (as a rule none, at most as many as there are threads)
//   goroutines held by a      also if they were scanned before: one may stand between a store and the shading of what it overwrote, which
//   is signal                    then nowhere but in its registers (gc/barrier.h). Those that stopped at a safepoint are not in a barrier
//   listed goroutines         whose stacks others may have written, or that may have read others' stacks, without barrier (below)
// After any of these has greyed something the marking goes on, and rest() is called again at the next attempt.
//
// Goroutines that begin while a collection marks need no scan: their closure was shaded when they were spawned, or, if they had been
// spawned before, when they start (and take_newborn excludes the collector, which may be looking at it). Nothing else is on their stacks,
// and what they load is protected by the barrier. Newborns that do not start are scanned where they lie. A closure under construction, not
// all in memory yet, belongs to the stack of its spawner (g::making), and so does one that has not been moved to its goroutine's stack
// (g::birth).
//
// Shared stacks. In C++ a goroutine can hold the address of another one's stack, as Go's cannot: a closure with captures by reference, a
// sudog. What passes through such an address has no barrier unless it is a ptr. Both ends are flagged when a closure or a channel's element
// carries an address of a stack: the one whose stack it is (shares_own), since others may write a pointer into its scanned stack; and the
// one who gets the address (shares_addresses), since it may read a pointer out of a stack that is not scanned yet. The first is listed when
// it is scanned; the second when it runs after its scan. That this suffices: a pointer that moved over a shared stack lies on one of the
// two, or was moved on by one of them; goroutines that got it by other ways got it through the heap or by a channel, which shade.
// Addresses of stacks that travel inside heap objects or globals are not seen: the rule there is to use ptr (warren/ptr.h), and
// WARREN_GCRESCAN=1 finds who does not.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "runtime/os/critical.h"
#include "runtime/sched/g.h"

namespace warren::rt {

class goroutine_pool;
class scheduler;

// The cycle that marks now; 0: none does. Changed while the world stands.
extern std::atomic<uint32_t> marking_cycle;

// A list of goroutines that grows without malloc.
class g_table {
 public:
  ~g_table();
  void add(g* gp) noexcept;  // fatal when the system gives no memory
  size_t size() const noexcept { return size_; }
  g*& operator[](size_t i) noexcept { return items_[i]; }
  void clear() noexcept { size_ = 0; }
  void swap(g_table& o) noexcept {
    std::swap(items_, o.items_);
    std::swap(size_, o.size_);
    std::swap(capacity_, o.capacity_);
  }

 private:
  g** items_ = nullptr;
  size_t size_ = 0, capacity_ = 0;
};

class stack_scan {
 public:
  // exact: what the words lie in was cleared before this cycle's scan, so that none is left over from earlier use.
  using visitor = void (*)(void* ctx, const void* lo, const void* hi, bool exact);

  explicit stack_scan(scheduler& s) noexcept : s_(s) {}

  // ---- world stopped ----
  // clear: what lies below the stack pointers is cleared as stacks are scanned.
  void begin(uint32_t cycle, bool clear) noexcept;
  void rest(visitor visit, void* ctx) noexcept;
  void all(visitor visit, void* ctx) noexcept;
  void end() noexcept;

  // ---- while a collection marks; in a bracket ----
  size_t batches() const noexcept { return stack_batches_ + newborn_slabs_; }
  void batch(size_t i, visitor visit, void* ctx) noexcept;
  // Tries the busy ones again. Returns how many are left, and asks those to come to a safepoint. One caller at a time.
  size_t retry(visitor visit, void* ctx) noexcept;

  // ---- by the scheduler, while marking_cycle is not 0 ----
  // gp is about to run. On g0, or on its own stack.
  void runs(g* gp) noexcept;
  // gp, which has no stack in use, is about to run nb.
  void born(g* gp, detail::newborn* nb) noexcept;
  // A stack's goroutine has been flagged.
  void shared(g* gp) noexcept { list(gp); }

 private:
  static constexpr uint32_t kBatch = 64;

  bool may_need_scan(const g* gp) const noexcept;
  void claim_and_scan(g** gs, size_t n, visitor visit, void* ctx) noexcept;
  void scan_slab(uint32_t slab, visitor visit, void* ctx) noexcept;
  void list(g* gp) noexcept;

  scheduler& s_;
  uint32_t cycle_ = 0;
  bool clear_ = false;
  uint32_t goroutines_ = 0;
  size_t stack_batches_ = 0, newborn_slabs_ = 0;
  critical_mutex lock_;
  // Guarded by lock_.
  g_table busy_;
  g_table listed_;

  g_table again_;  // of retry
};

// By whoever is about to run or drop a newborn that is ready. The caller is on g0 or in a critical section.
void take_newborn_slow(detail::newborn* nb) noexcept;
inline void take_newborn(detail::newborn* nb) noexcept {
  if (marking_cycle.load(std::memory_order_relaxed) != 0) [[unlikely]]
    return take_newborn_slow(nb);
  __atomic_store_n(&nb->stage, detail::newborn_started, __ATOMIC_RELAXED);
}

// Flags gp, the current goroutine, if the words at [lo, lo + bytes) hold an address of a stack. Returns the bits that whoever gets the
// words must be flagged with.
uint8_t note_shared_words(g* gp, const void* lo, size_t bytes) noexcept;

}  // namespace warren::rt

// Cleanups: functions that run after an object was found unreachable, without it.
//
// A record names the object's address, which keeps nothing, and a root cell, which keeps the function and its arguments until they have
// run.
//   waiting   the object was reachable so far
//   ready     a collection found it unreachable (after finalizers had their turn: an object that one of them needs is not gone yet). Its
//             memory is free as soon as that collection has ended, and nobody can look at it before
//   free      stopped, or taken by the goroutine that runs it
// Records have numbers with a generation in them, so that a handle cannot stop somebody else's cleanup.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/gc/weak.h"
#include "runtime/heap/mheap.h"
#include "runtime/os/critical.h"
#include "runtime/os/mapped_array.h"
#include "warren/detail/barrier.h"

namespace warren::rt {

class cleanup_set {
 public:
  // arguments: the cell that keeps function and arguments; the set's from now on. Throws std::bad_alloc.
  uint64_t add(const void* object, detail::root_cell* arguments);
  // The cell, the caller's again; nullptr: it runs, has run or was stopped before.
  detail::root_cell* stop(uint64_t id) noexcept;
  // Takes one that is ready. nullptr: there is none.
  detail::root_cell* take() noexcept;

  // After everything reachable was marked, what finalizers need too; the world may run (collector.h). Of the next `most` records from *at
  // on, how many became ready is added to *found. False: there are no more.
  bool find_unreachable(const mheap& h, size_t* at, size_t most, size_t* found) noexcept;

  // ---- world stopped ----
  // Looks for cleanups that can never run, since what they will be called with leads to their object, and reports them: each record once,
  // a few in every collection. For debug builds and WARREN_GCCHECKMARK: each costs a walk through what its arguments reach.
  void report_hopeless(const mheap& h) noexcept;

  size_t ready() const noexcept { return ready_count_.load(std::memory_order_relaxed); }
  size_t waiting() const noexcept { return waiting_count_.load(std::memory_order_relaxed); }
  uint64_t run() const noexcept { return run_.load(std::memory_order_relaxed); }

 private:
  static constexpr uint32_t kNone = ~uint32_t{0};
  enum class record_state : uint32_t { free, waiting, ready };
  struct record {
    uintptr_t object;
    detail::root_cell* arguments;
    uint32_t generation;
    uint32_t next;  // among the free, or among the ready
    record_state state;
    bool checked;  // by report_hopeless
  };
  void release(uint32_t i) noexcept;

  critical_mutex lock_;
  static constexpr int kChecksPerCollection = 64;
  // Guarded by lock_.
  mapped_array<record> records_;
  uint32_t free_ = kNone, first_ready_ = kNone, last_ready_ = kNone;
  std::atomic<size_t> ready_count_{0}, waiting_count_{0};
  std::atomic<uint64_t> run_{0};
};

// Does following pointers from the object at `from` lead to the object at `to`? World stopped, marking over. Uses the heap's check bits.
bool leads_to(const mheap& h, const void* from, uintptr_t to) noexcept;

}  // namespace warren::rt

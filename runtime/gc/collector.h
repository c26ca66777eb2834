// The collector: stop-the-world mark and sweep, in the four phases the concurrent modes will have.
//
//   collect(trigger)   on a goroutine
//     sweep what the last cycle left        the world runs; usually nothing
//     world.stop
//     sweep_termination                     mcaches emptied, every span swept: mark bits are zero, alloc bits exact
//     mark                                  roots (cells of root<T>, ranges, objects whose destructor waits, stacks), then the heap
//     mark_termination                      weak pointers to the unreachable are cleared; unreachable finalized objects are queued and
//                                           revived; cleanups of what is unreachable then are queued; [checkmark]; accounts; sweepgen += 2
//     world.start
//     manual collections sweep all; others leave it to the allocations that need the memory
//
// Why it is right, in this mode: from stop to start nobody else runs, so the graph stands still; everything a goroutine can reach goes
// through a root, its stack or its registers, all of which are scanned; newly made objects cannot be half-built, since a goroutine stops
// only outside the allocator. What threads without a P can do meanwhile is bounded by the roots' lock (runtime/gc/roots.h) and the barrier
// (runtime/gc/barrier.h).
//
// It knows a heap, roots and a world, and no scheduler: the tests build their own (tests/runtime/gc/collector_test).
#pragma once
#include <atomic>
#include <cstdint>

#include "runtime/gc/checkmark.h"
#include "runtime/gc/cleanup.h"
#include "runtime/gc/finalizer.h"
#include "runtime/gc/mark.h"
#include "runtime/gc/phase.h"
#include "runtime/gc/roots.h"
#include "runtime/gc/weak.h"
#include "runtime/gc/world.h"
#include "runtime/heap/mheap.h"
#include "runtime/os/critical.h"
#include "warren/gc.h"

namespace warren::rt {

struct collector_options {
  int percent = 100;  // negative: off
  bool checkmark = false;
};

class collector {
 public:
  collector(mheap& h, root_set& roots, world& w, const collector_options& options);
  collector(const collector&) = delete;
  collector& operator=(const collector&) = delete;

  // A whole collection. One that an allocation starts does nothing if, before or once the world stands, the reason has gone, since another
  // goroutine was faster: the report's cycle is 0 then. force: do it all the same.
  gc_report collect(gc_trigger trigger, bool force = false);
  // Sweeps all that is left.
  void finish_sweep() noexcept;

  finalizer_set& finalizers() noexcept { return finalizers_; }
  weak_table& weaks() noexcept { return weaks_; }
  cleanup_set& cleanups() noexcept { return cleanups_; }
  gc_phase phase() const noexcept { return phase_.load(std::memory_order_relaxed); }

  int percent() const noexcept { return percent_.load(std::memory_order_relaxed); }
  int set_percent(int percent) noexcept;
  void set_checkmark(bool on) noexcept { checkmark_ = on; }

  // When the last collection ended, in the world's nanotime; the start if there was none.
  int64_t last_end() const noexcept { return last_end_.load(std::memory_order_relaxed); }
  gc_stats read_stats() noexcept;

  // Greys an object on behalf of the barrier. World stopped.
  void shade(const void* object) noexcept { marker_.mark_word(reinterpret_cast<uintptr_t>(object)); }

  // Tests: called with the world stopped after marking, before the checks. May corrupt.
  void (*after_mark_for_testing)(void* arg) = nullptr;
  void* after_mark_arg_for_testing = nullptr;

 private:
  void cycle(gc_report& report);
  void mark_roots(gc_report& report);
  void check();
  void set_phase(gc_phase next) noexcept;
  uint64_t trigger_for(uint64_t marked) const noexcept;
  void account(const gc_report& report) noexcept;

  mheap& heap_;
  root_set& roots_;
  world& world_;
  marker marker_;
  finalizer_set finalizers_;
  weak_table weaks_;
  cleanup_set cleanups_;
  std::atomic<gc_phase> phase_{gc_phase::off};
  int64_t phase_start_ = 0;
  int64_t phase_ns_[kGcPhases] = {};
  std::atomic<int> percent_;
  std::atomic<int64_t> last_end_{0};
  std::atomic<uint64_t> marked_{0};  // bytes the last collection left
  bool checkmark_;
  uint64_t cycles_ = 0;  // world stopped

  critical_mutex stats_lock_;
  gc_stats stats_;  // guarded by stats_lock_
};

}  // namespace warren::rt

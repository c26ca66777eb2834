// The collector: Go's concurrent mark and sweep, in four modes.
//
//   start           sweep what the last cycle left       the world runs; usually nothing
//                   world.stop
//                   sweep_termination                    mcaches emptied: mark bits are zero, alloc bits exact
//                   [yuasa, stw: all stacks scanned]
//                   phase mark: barrier on, allocation black
//                   world.start                          except stw
//   mark            any number of participants, in any order:
//                   stacks in batches, newborn goroutines, cells of root<T>, objects whose destructor waits;
//                   then what is grey; then what the barrier has shaded
//   finish          when nobody finds anything any more: world.stop
//                   mark_termination: the rest of the stacks; registered ranges; shaded words of all threads
//                   something grey? phase mark, world.start, later again
//                   the ends of objects (below); [checkmark]; accounts; sweepgen += 2
//                   phase off, world.start
//   ends            1 weak pointers to the unreachable are cleared
//                   2 unreachable finalized objects are found, then queued and greyed, and what they reach is marked, in further rounds if
//                     need be
//                   3 cleanups of what is unreachable then are queued, and cells of weak pointers that nobody has are forgotten
//   afterwards      manual collections sweep all; others leave it to the allocations that need the memory
//
// Ends of objects. They look at every weak pointer, finalized object and cleanup there is, so with more than a few the world runs
// meanwhile: phase mark, with nothing left to mark. Between two stops the marks then stand still, but for what stacks hold by accident, and
// say what is dead:
//   mark_termination, all marked; world.start; 1; finalized objects are found. Any?
//      none    3; world.stop; still all marked? the end of the cycle
//      some    world.stop; they are queued. world.start; they are greyed, rounds of marking; world.stop; all marked; world.start; 3;
//              world.stop; still all marked? the end of the cycle
// What may go wrong with the program running is a dead object that comes back, by a weak pointer that is not cleared yet: weak.h says how
// that is kept from happening. Nothing else leads to one, until destructors may be taken from the queue; finalizer.h has that part. So 3
// may let cleanups run at once. The order is the same either way: weak pointers are cleared before a finalizer sees its object and before a
// cleanup runs, and cleanups come after the finalizers of their objects. It is all in the pause if there is little to do, in mode stw, and
// for checkmark and rescan, to which an address that a weak pointer has refused, left behind on a stack, were a lost object.
//
// With the world running the passes go over their tables in pieces, each a critical section, and between two of them somebody else may stop
// the world (a dump, GOMAXPROCS): world::give_way. The driver holds no lock there, a pass remembers nothing but a number, which additions
// and removals by others leave right already, and the judgement stands until the collector's own next stop ends it. It is no matter how
// long the others keep the world, or the processor.
//
// So does the driver's sweep, before a collection and after a manual one. The phase is off then, no lock is held, and a span is swept as a
// whole before anybody stops (heap/sweep.cpp). What a stop in between may bring: other Ps, with new mcaches or without their old ones,
// another mode, a look at all spans. None of it makes a span that wants to be swept: spans are made, and leave their mcaches, swept. What
// would is another collection, as that raises sweepgen, and lists that are not empty would be taken for swept ones. There is none: only the
// driver collects, and it is here. So when sweep_one has found nothing, nothing comes after it, however often the driver was away.
//
// The modes are Go's history, and oracles for each other (gc.md §3.7):
//   stw       the world stands from start to finish. No barrier is needed.
//   dijkstra  stores shade what is stored. Stacks are scanned while it runs, and all again in mark_termination, marking included.
//   yuasa     stores shade what is overwritten. All stacks are scanned in sweep_termination: what was reachable then is kept.
//   hybrid    stores shade both. Each stack is scanned once, while it runs; only the doubtful ones again. The default.
//
// Why hybrid keeps what is reachable (gc.md §3.5 has the proof for Go; here is what differs).
//   A stack that was scanned is black: all it holds is marked, or protected by a path of heap slots from something grey. It gets
//   pointers from three places. From the heap: the pointer was protected when it was loaded, and whoever deletes an edge of the protecting
//   path shades what that edge led to. From `make`: black. From another stack: only over a channel or a closure, which shade, or by a
//   shared address, for which the stack is scanned again (sched/stack_scan.h).
//   A store shades after it was made, not before, so a thread can be stopped in between (barrier.h). At a safepoint it is not: a goroutine
//   that stopped at one has shaded all it has stored. One that the signal holds may have not; what it overwrote is then in its registers
//   or on its stack, and these are scanned in every mark_termination. So when a mark_termination finds nothing grey, nothing is
//   hidden.
//   Turning the barrier on: the world stands, and a held thread that has not tested the flag yet will see it; one that has tested has
//   stored, and nothing was marked before. Turning it off: everything reachable is marked; what a held thread is about to shade, too.
//   Who can make something grey is a closed list, and mark_termination looks at all of it with the world stopped: participants
//   (none is at work then: they work in brackets), barrier buffers of threads, roots and finalizers (under locks that it holds), stacks.
//   Conservative words only add marks.
//
// It ends. Every mark_termination that finds grey objects has marked white ones, of which there are only as many as there were at the
// start; new objects are black. A small rest of marking is done in the pause itself, so that one late pointer does not cost another round.
//
// It knows a heap, roots and a world, and no scheduler: the tests build their own (tests/runtime/gc/collector_test). In the program,
// runtime/gc_cycle.cpp drives it.
#pragma once
#include <atomic>
#include <cstdint>

#include "runtime/gc/assist_queue.h"
#include "runtime/gc/checkmark.h"
#include "runtime/gc/cleanup.h"
#include "runtime/gc/finalizer.h"
#include "runtime/gc/mark.h"
#include "runtime/gc/mode.h"
#include "runtime/gc/pacer.h"
#include "runtime/gc/phase.h"
#include "runtime/gc/roots.h"
#include "runtime/gc/weak.h"
#include "runtime/gc/work_pool.h"
#include "runtime/gc/world.h"
#include "runtime/heap/mheap.h"
#include "runtime/os/critical.h"
#include "warren/gc.h"

namespace warren::rt {

struct collector_options {
  int percent = 100;  // negative: off
  bool checkmark = false;
  gc_mode mode = gc_mode::stw;
  bool rescan = false;             // scan all stacks again in mark_termination, and report what that finds
  uint64_t limit = pacer::kNever;  // of all memory, in bytes
  // So many weak pointers, finalized objects and cleanups are gone through with the world stopped: 10 µs or so.
  size_t ends_in_pause = WARREN_CAPACITY(1000, 2);
};

class collector {
 public:
  collector(mheap& h, root_set& roots, world& w, const collector_options& options);
  collector(const collector&) = delete;
  collector& operator=(const collector&) = delete;

  // A whole collection by the caller alone: start, mark, finish. One that an allocation starts does nothing if, before or once the world
  // stands, the reason has gone, since another goroutine was faster: the report's cycle is 0 then. force: do it all the same.
  gc_report collect(gc_trigger trigger, bool force = false);

  // ---- the same in steps. One driver at a time calls start, then finish until it returns true ----
  // False: the reason has gone. In mode stw the collection is over when it returns.
  bool start(gc_trigger trigger, bool force);
  // Any number of participants, each in a bracket of its own: does about so many bytes of marking. Returns what was done: 0 if there is
  // nothing to do now (but others may be at work, and find more). Nothing happens outside of phase mark.
  uint64_t mark(uint64_t work) noexcept;
  // Nobody is in mark, and nothing was found to do there.
  bool idle() const noexcept;
  // Is there something that one more participant could take?
  bool has_work() const noexcept {
    return phase() == gc_phase::mark && (pool_.has_work() || next_job_.load(std::memory_order_relaxed) < jobs_ || finalizers_.to_mark());
  }

  // ---- who marks, and for how long (pacer.h) ----
  enum class worker : uint8_t { background, idle };
  // A worker's piece: as mark; what it has done is credit for those who allocate.
  uint64_t work(uint64_t amount, worker kind) noexcept;
  // By a goroutine that has added so many bytes to the heap. credit: of the caller, bytes of marking it has done beyond what it owed.
  // False: it owes more, has found nothing to mark, and should not go on before assists() has paid what *credit lacks.
  bool assist(uint64_t bytes, int64_t* credit) noexcept;
  // Where they wait. After work and finish, outside of brackets: wake_paid().
  assist_queue& assists() noexcept { return assist_queue_; }
  // Before finish, the world running: tries the stacks again that were busy. Returns how many are left.
  size_t retry_stacks() noexcept;
  // REQUIRES: phase mark. False: there is more to mark.
  bool finish();
  // Of the collection that finish or start has ended.
  const gc_report& report() const noexcept { return report_; }
  // For the report: what sweeping right afterwards took.
  void swept(int64_t ns) noexcept { report_.sweep_ns = ns; }

  // Sweeps all that is left. On the driver, phase off, the world running.
  void finish_sweep() noexcept;

  finalizer_set& finalizers() noexcept { return finalizers_; }
  weak_table& weaks() noexcept { return weaks_; }
  cleanup_set& cleanups() noexcept { return cleanups_; }
  // What weak<T>::lock may return. In a critical section up to where the caller has shaded it.
  void* lock_weak(const detail::weak_cell* cell) const noexcept { return weaks_.lock(cell, heap_); }
  gc_phase phase() const noexcept { return phase_.load(std::memory_order_acquire); }
  gc_mode mode() const noexcept { return mode_; }
  // REQUIRES: phase off.
  void set_mode(gc_mode mode) noexcept;

  int percent() const noexcept { return percent_.load(std::memory_order_relaxed); }
  int set_percent(int percent) noexcept;
  // ---- the memory limit. What counts: warren/gc.h:set_memory_limit ----
  uint64_t limit() const noexcept { return limit_.load(std::memory_order_relaxed); }
  // Returns the former; pacer::kNever: none. Any thread.
  uint64_t set_limit(uint64_t bytes) noexcept;
  // The heap is as large as the limit allows, and the limiter does not limit: no allocation should go on before a collection marks.
  bool beyond_limit() const noexcept { return heap_.paced_bytes() >= hard_goal_.load(std::memory_order_relaxed); }
  // Memory has changed that no collection and no allocation knows of (stacks): pace again. Now and then, any thread.
  void revise_memory() noexcept;
  uint64_t memory_bytes() const noexcept;
  // In the background memory is given back from a twentieth before the limit on: who allocates should not have to do it.
  uint64_t soon_at_limit() const noexcept { return limit() - limit() / 20; }
  bool near_limit() const noexcept { return limit() != pacer::kNever && memory_bytes() > soon_at_limit(); }
  // Memory of malloc behind collected objects has come, or gone. Any thread: an addition, and now and then a lock.
  void add_external(int64_t n) noexcept;
  // Says on standard error that the limit cannot be kept, if that is so and was not said of late. On the driver, the world running.
  void report_limit() noexcept;
  void set_checkmark(bool on) noexcept { checkmark_ = on; }
  void set_rescan(bool on) noexcept { rescan_ = on; }

  // When the last collection ended, in the world's nanotime; the start if there was none.
  int64_t last_end() const noexcept { return last_end_.load(std::memory_order_relaxed); }
  gc_stats read_stats() noexcept;

  // Greys an object on behalf of someone who is no participant: roots, finalizers. Any thread; nothing happens outside of marking.
  void shade(const void* object) noexcept;
  // Empties one barrier buffer, which its owner found full. In a critical section.
  template <class Buffer>
  void take_buffer(Buffer& b) noexcept {
    marker m(heap_, pool_);
    b.take([&m](uintptr_t word) { m.mark_word(word); });
    add(m);
  }

  // Tests: called with the world stopped after marking, before the checks. May corrupt.
  void (*between_ends_for_testing)(void* arg) = nullptr;  // while the world runs, before each piece of 1, 2 and 3
  void* between_ends_arg_for_testing = nullptr;
  void (*between_sweeps_for_testing)(void* arg) = nullptr;  // in finish_sweep, before it gives way
  void* between_sweeps_arg_for_testing = nullptr;
  void set_ends_in_pause_for_testing(size_t n) noexcept { ends_in_pause_ = n; }
  void (*after_mark_for_testing)(void* arg) = nullptr;
  void* after_mark_arg_for_testing = nullptr;

 private:
  void stopped_start();
  void stopped_finish();
  enum class outcome : uint8_t { grey, ends, over };  // something is grey; the world is to run for the ends of objects; neither
  outcome terminate(marker& m);
  void judge() noexcept;
  template <class F>
  void piece_by_piece(F&& piece);
  void clear_weaks() noexcept;
  void find_finalizers() noexcept;
  void queue_cleanups() noexcept;
  void run_ends() noexcept;
  bool ends_are_due() const noexcept { return ending_ == ending::due || ending_ == ending::clean_due; }
  bool stop_and_finish();
  bool root_job(marker& m, uint64_t* work, bool roots_locked) noexcept;
  void scan_stacks(marker& m, void (world::*scan)(world::stack_visitor, void*));
  void check();
  uint64_t rescan(marker& m);
  void add(marker& m) noexcept;
  void set_phase(gc_phase next) noexcept;
  void record_pause(int64_t ns) noexcept;
  // The limit determines the goal, or the heap has come to where it would: who owes marking waits.
  bool strict() const noexcept {
    return !limiting_.load(std::memory_order_relaxed) && (strict_.load(std::memory_order_relaxed) || beyond_limit());
  }
  // REQUIRES (all): pacer_lock_.
  void revise() noexcept;
  pacer::memory take_memory() noexcept;
  void publish_goals() noexcept;
  void account() noexcept;

  mheap& heap_;
  root_set& roots_;
  world& world_;
  work_pool pool_;
  finalizer_set finalizers_;
  weak_table weaks_;
  cleanup_set cleanups_;
  gc_mode mode_;
  std::atomic<gc_phase> phase_{gc_phase::off};
  int64_t phase_start_ = 0;
  int64_t phase_ns_[kGcPhases] = {};
  std::atomic<int> percent_;
  std::atomic<int64_t> last_end_{0};
  bool checkmark_;
  bool rescan_;
  uint64_t cycles_ = 0;  // world stopped
  size_t ends_in_pause_;

  // Of the cycle under way.
  gc_report report_;
  // How far the ends of objects are. Driver, or world stopped.
  enum class ending : uint8_t {
    marking,     // not begun
    due,         // 1 is to be done, and what 2 begins with
    found,       // finalized objects were; they are to be queued
    finalizing,  // they are queued: 2 is under way
    clean_due,   // 3 is to be done
    done
  };
  ending ending_ = ending::marking;
  std::atomic<uint32_t> participants_{0};
  std::atomic<size_t> next_job_{0};
  size_t jobs_ = 0;
  std::atomic<uint64_t> bytes_{0}, objects_{0}, scanned_{0}, stack_bytes_{0}, root_words_{0};
  std::atomic<double> ratio_{0};  // bytes to mark per byte allocated
  assist_queue assist_queue_;     // with the bytes that workers have marked and nobody has used
  std::atomic<int64_t> worker_ns_{0}, assist_ns_{0}, idle_ns_{0};
  std::atomic<uint64_t> assists_{0}, assists_by_credit_{0};
  int64_t mark_began_ = 0;
  critical_mutex shared_lock_;
  marker shared_;  // guarded by shared_lock_: what shade has greyed

  critical_mutex pacer_lock_;
  // Guarded by pacer_lock_.
  pacer pacer_;
  cpu_limiter limiter_;
  int64_t limited_at_ = 0, limited_gc_ = 0;  // when the limiter was last told, and what had been spent by then
  std::atomic<bool> limiting_{false};
  std::atomic<uint64_t> hard_goal_{pacer::kNever};  // the pacer's, unless the limiter limits
  std::atomic<bool> strict_{false};                 // no debt is forgiven: the limit determines the goal
  std::atomic<uint64_t> external_paced_{0};         // the pacer's external()
  std::atomic<uint64_t> limit_;
  std::atomic<uint64_t> limit_missed_{0};  // collections that found more alive than the limit allows
  int64_t limit_told_ = 0;                 // report_limit's: when it spoke last
  uint64_t limit_told_of_ = 0;             // and of which number of misses

  critical_mutex stats_lock_;
  gc_stats stats_;  // guarded by stats_lock_
};

}  // namespace warren::rt

// The pacer: when a collection begins, how hard who allocates must help, and so where the heap is when it ends.
//
// Three numbers per cycle (gc.md §3.4, which has Go's sources):
//   goal     how large the heap may be when the marking is over: what was live, plus GOGC percent of that and of the roots
//   trigger  where it must begin for that: the goal less a runway, which is what the program allocates while a quarter of the processors
//            mark all there is. How fast it allocates per byte marked (cons/mark) is measured in every cycle; of the last five the largest
//            counts, as one that is too late costs assists and one that is too early only some marking
//   ratio    bytes of marking that an allocated byte costs (assist): what is left to mark over what is left of the way to the goal
//
// And one brake. Assists on a heap that is too small for the program would mark all the time (the death spiral of a memory limit). The
// limiter is a bucket that marking fills and the program's own work empties; while it is full, assists are free, and the heap grows beyond
// its goal instead.
//
// Both know numbers only: tests/runtime/gc/pacer_test drives them with programs that exist on paper.
#pragma once
#include <cstdint>

namespace warren::rt {

class pacer {
 public:
  // The part of the processors that marks, besides assists and idle ones.
  static constexpr double kShare = 0.25;

  // percent < 0: no goal. concurrent: the program runs while it is marked; else the trigger is the goal.
  explicit pacer(int percent, bool concurrent) noexcept;
  void set(int percent, bool concurrent) noexcept;

  uint64_t goal() const noexcept { return goal_; }
  uint64_t trigger() const noexcept { return trigger_; }

  // The marking begins; live: the heap now.
  void start_cycle(uint64_t live) noexcept;
  // Now and then while it marks: returns the assist ratio. work: bytes scanned so far, stacks and roots included.
  double ratio(uint64_t live, uint64_t work) noexcept;

  struct cycle {
    uint64_t marked = 0;     // bytes that were found live, or made meanwhile
    uint64_t live_end = 0;   // the heap when the marking ended
    uint64_t heap_work = 0;  // bytes scanned: of the heap,
    uint64_t root_work = 0;  // of stacks and roots
    int64_t duration = 0;    // ns of marking; 0: unknown
    int64_t assist = 0;      // ns of processors
    int64_t idle = 0;        // likewise
    int procs = 1;
  };
  void end_cycle(const cycle& c) noexcept;

  double cons_mark() const noexcept;  // of the next cycle

 private:
  void commit() noexcept;
  uint64_t percent_of(uint64_t bytes) const noexcept;

  static constexpr int kHistory = 5;
  int percent_;
  bool concurrent_;
  uint64_t marked_ = 0, heap_work_ = 0, root_work_ = 0;  // of the last cycle
  double cons_mark_[kHistory] = {};
  uint64_t goal_ = 0, trigger_ = 0;
  uint64_t triggered_ = 0;  // the heap when this cycle began
};

class cpu_limiter {
 public:
  // Since the last call so many ns of all processors have passed, of which gc were spent marking (idle ones not counted).
  void update(int64_t total, int64_t gc, int procs) noexcept;
  bool limiting() const noexcept { return limiting_; }
  uint64_t times() const noexcept { return times_; }  // that it began to limit

 private:
  static constexpr int64_t kCapacityPerProc = 1'000'000'000;  // Go's: bursts of a second are fine, half of the time for long is not
  int64_t fill_ = 0;
  bool limiting_ = false;
  uint64_t times_ = 0;
};

}  // namespace warren::rt

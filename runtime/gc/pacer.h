// The pacer: when a collection begins, how hard who allocates must help, and so where the heap is when it ends.
//
// Three numbers per cycle (gc.md §3.4, which has Go's sources):
//   goal     how large the heap may be when the marking is over: what was live, plus GOGC percent of that and of the roots
//   trigger  where it must begin for that: the goal less a runway, which is what the program allocates while a quarter of the processors
//            mark all there is. How fast it allocates per byte marked (cons/mark) is measured in every cycle; of the last five the largest
//            counts, as one that is too late costs assists and one that is too early only some marking
//   ratio    bytes of marking that an allocated byte costs (assist): what is left to mark over what is left of the way to the goal
//
// A memory limit makes the goal smaller: as large as the heap can be so that everything together stays below the limit, and not below what
// was live and a little, since a smaller heap cannot be had. Such a goal means that one collection follows the other; a limit that what
// lives exceeds is one that cannot be kept, and the caller says so to a person.
//
// Such a goal is not one to overrun, either: it is not raised when there is more to mark than in the last cycle, and who owes marking and
// finds nothing to mark waits until it is paid or the marking is over (assist_queue.h). Otherwise the debt is forgiven, which costs
// a program with long lists, which one worker marks while the others find nothing, memory and no time. That ends where the limit's goal
// lies (hard_goal), whichever goal began the cycle. (It did not: of a program that had little alive, and so a goal far below the limit,
// a cycle whose worker the system let stand still for a tenth of a second, with all that is grey, saw the heap go from 15 MB to 69, past
// the 58 that the limit allowed.)
//
// The same numbers say how much memory the heap should keep resident (retain; heap/scavenger.h): what the last cycle used, in proportion to
// the new goal, and a tenth more.
//
// Memory of malloc behind collected objects (warren/gc.h:external_bytes) counts as heap: what there was of it when the last cycle ended is
// part of what was live, and what has come since of what the heap is compared with the trigger by. But nobody knows which of it belongs to
// what was found dead, until the destructors of that have run and take it away again. So what was live is lowered (set_external) when that
// happens; otherwise a program of small objects with much behind them would find all of it alive in every cycle and double its goal each
// time. (V8 lowers the same figure in the same way.) It is nothing to mark.
//
// Against the limit it counts as heap, too: a collection is what makes it go. But only what belongs to the dead goes, and that later, when
// their destructors have run; collections in vain, one after the other, must not come of either. So the least way to a goal that the limit
// sets is a part of all that was live, external memory included: between two collections so much has come, of either kind, whatever the
// limit is; and if nothing comes, no collection begins. (As a part of the marked heap alone, which may be next to nothing, it would
// be used up by a single object with a megabyte behind it.) And that the limit cannot be kept is said only of external memory that was
// there all the time since the last cycle: the rest may be about to go. Of objects it is said of those that were there when the marking
// began: younger ones are black whether they live or not.
//
// And one brake. Assists on a heap that is too small for the program would mark all the time (the death spiral of a memory limit). The
// limiter is a bucket that marking fills and the program's own work empties; while it is full, assists are free, and the heap grows beyond
// its goal instead: marking goes on with its share. Where marking means that the world stands there is no such other brake; then it is
// the limit's goal that is ignored while the bucket is full.
//
// Both know numbers only: tests/runtime/gc/pacer_test drives them with programs that exist on paper.
#pragma once
#include <cstdint>

namespace warren::rt {

class pacer {
 public:
  // The part of the processors that marks, besides assists and idle ones. Go's is a quarter; of one processor alone a half, since while it
  // marks the program runs with its barrier on, a fifth slower, and what it makes meanwhile is kept for another cycle: the sooner that is
  // over, the less of both (binary_trees/21 on one P: 20 s of processor time instead of 22, a heap of 115 MB marked instead of 130).
  static constexpr double share(int procs) noexcept { return procs == 1 ? 0.5 : 0.25; }
  // What a worker that takes a part of its processor may be ahead of that, ns: a fifth of a time slice. A cycle of less is over before the
  // program goes on, and the program does not run with its barrier on, which costs it a fifth of its time (binary_trees/16: 130 of 320 ms
  // marking instead of 260 of 390).
  static constexpr int64_t kAhead = 2'000'000;

  // percent < 0: no goal. concurrent: the program runs while it is marked; else the trigger is the goal.
  explicit pacer(int percent, bool concurrent) noexcept;
  void set(int percent, bool concurrent) noexcept;

  static constexpr uint64_t kNever = ~uint64_t{0};

  // What is in use. `used` is all that counts against the limit; the rest of it, beyond free and allocated bytes and external memory, is
  // taken to stay as it is.
  struct memory {
    uint64_t limit = kNever;
    uint64_t used = 0;
    uint64_t heap_free = 0;       // resident, in no span, and of stacks nobody uses
    uint64_t heap_allocated = 0;  // in objects; garbage that waits for the sweep included
    uint64_t heap_spans = 0;      // in spans
    uint64_t external = 0;        // of `used`, behind objects
    bool ignore = false;          // the limiter limits
  };
  void set_memory(const memory& m) noexcept;
  // The limit determines the goal, not the percentage.
  bool by_limit() const noexcept { return by_limit_; }
  // That the limit cannot be kept: what lived when the last cycle began and the rest of the memory are more.
  bool limit_missed() const noexcept { return limit_missed_; }
  // Resident bytes of the heap beyond which the scavenger gives back in the background; kNever: it does not. Of the last cycle's end.
  uint64_t retain() const noexcept { return retain_; }

  uint64_t goal() const noexcept { return goal_; }
  uint64_t trigger() const noexcept { return trigger_; }
  // Not below the goal: what the limit alone asks for. kNever: nothing.
  uint64_t hard_goal() const noexcept { return hard_goal_; }

  // Less of the external memory that the last cycle left is there. set_memory is to follow if there is a limit.
  void set_external(uint64_t bytes) noexcept;
  uint64_t external() const noexcept { return external_; }

  // The marking begins; live: the heap now, external memory included, as everywhere below. external: that alone.
  void start_cycle(uint64_t live, uint64_t external = 0) noexcept;
  // Now and then while it marks: returns the assist ratio. work: bytes scanned so far, stacks and roots included.
  double ratio(uint64_t live, uint64_t work) noexcept;

  struct cycle {
    uint64_t marked = 0;     // bytes of objects that were found live, or made meanwhile
    uint64_t external = 0;   // behind these, and behind those whose destructors have not run
    uint64_t live_end = 0;   // the heap when the marking ended
    uint64_t heap_work = 0;  // bytes scanned: of the heap,
    uint64_t root_work = 0;  // of stacks and roots
    int64_t duration = 0;    // ns of marking; 0: unknown
    int64_t assist = 0;      // ns of processors
    int64_t idle = 0;        // likewise
    int procs = 1;
  };
  void end_cycle(const cycle& c, const memory& at_its_end) noexcept;
  void end_cycle(const cycle& c) noexcept { end_cycle(c, memory_); }

  double cons_mark() const noexcept;  // of the next cycle

  // How long a worker is to rest that takes `share` of a processor and has worked so long since the marking began, `elapsed` ns ago. All in
  // ns; 0 and less: not yet.
  static int64_t rest(int64_t worked, int64_t elapsed, double share) noexcept;

 private:
  void commit() noexcept;
  uint64_t live() const noexcept { return marked_ + external_; }
  uint64_t percent_of(uint64_t bytes) const noexcept;
  uint64_t percent_goal() const noexcept;
  uint64_t limit_goal() noexcept;

  static constexpr int kHistory = 5;
  int percent_;
  bool concurrent_;
  uint64_t marked_ = 0, heap_work_ = 0, root_work_ = 0;  // of the last cycle
  uint64_t born_ = 0;                                    // of what it marked: made meanwhile, whether it still lives or not
  double share_ = share(2);                              // of the last cycle
  double cons_mark_[kHistory] = {};
  uint64_t goal_ = 0, trigger_ = 0, hard_goal_ = kNever;
  uint64_t external_ = 0;
  uint64_t lasting_external_ = 0;  // the least there was at a time between the last two cycles' ends
  uint64_t triggered_ = 0;         // the heap when this cycle began
  uint64_t triggered_external_ = 0;
  memory memory_;
  bool by_limit_ = false;
  bool limit_missed_ = false;
  uint64_t retain_ = kNever;
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

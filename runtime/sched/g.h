// g: a goroutine.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/sched/park.h"
#include "runtime/sched/timer.h"
#include "runtime/stack/context.h"
#include "runtime/stack/switch.h"
#include "warren/go.h"

namespace warren::rt {

struct m;
struct p;

// What a run queue holds: a goroutine that has run before (g), or one that has not and needs no stack yet (newborn).
struct runnable {
  runnable* next = nullptr;  // link of the one queue or list it is in; guarded as that queue is
  bool is_newborn = false;
};

// Who owns the stack and who may change the status:
//   dead      nobody: in a free list. The P that takes it out makes it running.
//   runnable  the queue it is in. The P that dequeues it makes it running.
//   running   the M in gp->mp executes on the stack. That M alone changes the status.
//   syscall   as running, but in a declared blocking region, without a P. The collector may read the stack above blocking_sp.
//   waiting   whoever holds the wait record. Exactly one goready makes it runnable. The collector may read the stack while the world is
//   stopped.
enum class g_status : uint32_t { dead, runnable, running, syscall, waiting };
const char* to_string(g_status s) noexcept;

// Lies in the top page of its own stack slot (the page is touched anyway), and stays there for the slot's life: a dead g is reused with its
// stack. Fields without a remark belong to the goroutine itself while it runs and to its queue's owner while it does not.
struct alignas(64) g : runnable {
  std::atomic<g_status> status{g_status::dead};
  wait_reason reason = wait_reason::none;
  uint8_t stack_class = 0;
  bool stack_sampled = false;       // began on a cleared stack: how deep it goes is measured (sched/stack_scavenger.h)
  bool no_safepoint = false;        // a park hook runs, or this goroutine has stopped the world
  std::atomic<bool> system{false};  // the runtime's own: its stack holds nothing collected and is not scanned
  m* mp = nullptr;                  // the M that runs it
  std::atomic<m*> holder{nullptr};  // the M whose signal handler holds it while the world is stopped
  uint64_t goid = 0;                // never reused within a run
  fiber stack_state;                // saved registers, exception state, errno, stack bounds

  // What mcall carries to the scheduler's stack.
  bool (*park_commit)(g*, void*) = nullptr;
  void* park_commit_arg = nullptr;
  void* park_param = nullptr;  // from the waker to the woken
  void (*park_hook)(void*) = nullptr;
  void* park_hook_arg = nullptr;

  detail::newborn* birth = nullptr;  // the closure, until it was moved to this stack
  timer sleep_timer;
  m* locked_m = nullptr;      // the only thread that runs it (locked_thread.cpp)
  uint32_t locked_count = 0;  // calls of lock_os_thread not yet undone

  // What lets another thread look at the stack, or take pages below its stack pointer, while the goroutine is not running: the essay in
  // sched/stack_claim.h. Whoever is about to run the goroutine sets `status` first and reads stack_claimed afterwards.
  static constexpr uint32_t kFreed = 2;
  std::atomic<uint32_t> stack_claimed{0};  // 1: claimed; kFreed: the slot is a free page
  std::atomic<uint32_t> parks{0};          // +1 for each park, by the goroutine's M: tells one wait from another
  // Of the scavenger: at which wait it last looked, since when that has lasted (0: not known), and whether the stack was cut down for it.
  std::atomic<uint32_t> seen_parks{0};
  uint32_t cut_parks = 0;
  std::atomic<int64_t> waiting_since{0};

  void* locals = nullptr;  // goroutine_local's values: a collected object
  void* arena = nullptr;   // the innermost detail::arena_scope's; kept by whoever made the scope

  // Of the collector (sched/stack_scan.h). Numbers of cycles; those of earlier ones mean nothing.
  std::atomic<uint32_t> scanned{0};   // the stack is black
  uint32_t exact = 0;                 // and was cleared below what was scanned
  std::atomic<uint32_t> listed{0};    // will be looked at again before the cycle ends
  std::atomic<uint8_t> shares{0};     // stack_sharing bits
  detail::newborn* making = nullptr;  // closures this goroutine is constructing, the innermost first

  // Declared blocking region: what lies above is all the collector sees of the goroutine, the saved registers included (they are in a frame
  // there).
  void* blocking_sp = nullptr;

  std::byte* slot = nullptr;       // base of the stack slot
  const void* spawn_pc = nullptr;  // who called go(): for dumps
  uint64_t spawn_goid = 0;         // which goroutine that was
};
static_assert(sizeof(g) <= 448, "a parked goroutine should fit into one page together with its frames: look at what grew");

// The bottom of every goroutine's stack: calls the closure. arg: its g.
void goroutine_entry(void* arg);

// Which stacks break the rule that nobody but its goroutine writes a stack without a barrier (gc.md §3.6).
enum stack_sharing : uint8_t {
  shares_addresses = 1,  // the goroutine was given addresses of other stacks
  shares_own = 2,        // others were given addresses of this stack
};

// What comes after it: ends the current goroutine. Does not return.
void goexit(void*);
// Ends the run, after the hook runtime_may_stop has put it off. On a goroutine.
[[noreturn]] void end_runtime();

// Calls and clears gp's park hook. REQUIRES: gp is the caller and has one.
void run_park_hook(g* gp) noexcept;

}  // namespace warren::rt

namespace warren::detail {

// A goroutine that was spawned and has not run: 128 bytes in place of a stack. One million of these is 128 MB, of stacks it would be 4 GB.
// The closure lies inside when it is small, else in memory of its own; either way the collector scans it conservatively while `type` is
// set.
inline constexpr size_t kInlineClosure = 72;
inline constexpr size_t kInlineClosureAlign = 8;  // closures that want more are rare; 16 here would cost all of them 16 bytes
enum newborn_stage : uint8_t {
  newborn_free,      // also what memory shows that was given back to the system
  newborn_making,    // the closure is being constructed (g::making)
  newborn_ready,     // waits to be run; the collector may look at the closure
  newborn_scanning,  // it does: whoever runs or drops the newborn waits for it
  newborn_started,   // belongs to a goroutine (g::birth)
};
struct newborn : rt::runnable {
  uint8_t stack_class = 0;
  bool borrowed = false;         // the closure is somebody else's memory (the main goroutine's)
  bool constructed = false;      // the closure exists (its constructor may meet a safepoint)
  uint8_t stage = newborn_free;  // a newborn_stage; see sched/stack_scan.h
  uint8_t shares = 0;            // what the goroutine's g::shares begins with
  uint64_t goid = 0;
  const closure_type* type = nullptr;  // nullptr: in a free list
  void* closure = nullptr;             // &storage, from operator new, or borrowed
  const void* spawn_pc = nullptr;
  uint64_t spawn_goid = 0;
  alignas(kInlineClosureAlign) std::byte storage[kInlineClosure];
};
static_assert(sizeof(newborn) == 128);

}  // namespace warren::detail

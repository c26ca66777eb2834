// Fibers: contexts with everything C++ keeps per thread and must be kept per flow of control. The only way the runtime changes stacks.
//
// What has to follow a flow of control, and how
//
//   registers             pushed on its stack by warren_context_switch
//   exception state       two words per thread in the C++ ABI (__cxa_eh_globals: the exceptions being handled, the number in flight). A
//                         goroutine that parks inside a catch block leaves its chain there; another one that throws on the same thread
//                         would hang its own exception in front, and the first, resumed elsewhere, would pop a stranger's. So they are
//                         swapped. Nearly always all are zero on both sides: then nothing is written.
//   errno                 saved and restored, so that `errno` after a call that parked still means that call.
//   sanitizers' view      switch_annotations.h
//   not kept              floating-point control registers, the signal mask, thread-locals of user code: they belong to the thread.
//
// Why everything is exchanged BEFORE the jump. The addresses of the thread's two words and of its errno are constant for a thread, so each
// M reads them once (thread_state_init) and switch_fiber needs no thread-local access. But the line after warren_context_switch may run on
// another thread: there `ts` is the state of the thread that we left. Restoring after the jump would need the new thread's state, fetched
// through a call which the compiler must not merge with an earlier one (__cxa_get_globals and __errno_location are both declared const: it
// may). So the side that leaves does all the work at one instant, on one thread: it moves the thread's words into `from` and `to`'s words
// into the thread. After the jump nothing thread-related is touched. The new fiber finds its state in place, whichever thread runs it.
//
// Rejected: interposing __cxa_get_globals (collides with other libraries that do the same), __cxa_get_globals at each switch (a call and a
// thread-local access each time), leaving errno to the caller (a user's `strerror(errno)` after a call that parked would rarely be wrong,
// and never in a test).
#pragma once
#include <cstddef>

#include "runtime/stack/context.h"
#include "runtime/stack/stack_arena.h"
#include "runtime/stack/switch_annotations.h"

namespace warren::rt {

// The layout of __cxa_eh_globals in the Itanium C++ ABI (2.2.2), the same on x86-64 and aarch64.
struct eh_state {
  void* caught = nullptr;
  unsigned int uncaught = 0;
};

// A stack and what runs on it. Does not own the stack. One thread at a time uses it: the scheduler's hand-over orders accesses.
struct fiber {
  context ctx;                        // where it is suspended; stale while it runs
  eh_state eh;                        // while suspended
  int saved_errno = 0;                // while suspended
  std::byte* low = nullptr;           // lowest usable address
  std::byte* high = nullptr;          // one past the highest
  const std::byte* canary = nullptr;  // end of the guard bytes to look at; nullptr where a real guard is installed
  void (*entry)(void*) = nullptr;     // what start_fiber calls
  void* arg = nullptr;
  void* asan_fake_stack = nullptr;
  void* tsan_fiber = nullptr;
};

// One thread's words that belong to the running flow of control.
struct thread_state {
  eh_state* eh = nullptr;
  int* errno_location = nullptr;
};

// Fills ts with the calling thread's addresses. Once per thread, before its first switch.
void thread_state_init(thread_state& ts) noexcept;

// Makes f stand for what the calling thread runs now (its own stack: g0), so that it can be switched away from and back to.
void adopt_thread(fiber& f) noexcept;

// Prepares f to run entry(arg) on a slot of the arena, in [stack_low(slot), top), and then end(&f). One of the two does not return but ends
// by switch_fiber(…, from_dies); end is the better one (context.h says why). f itself must outlive the switch; it usually lies in the
// control block, that is at top.
void prepare_fiber(fiber& f, stack_arena& arena, std::byte* slot, std::byte* top, void (*entry)(void*), void* arg,
                   void (*end)(void*) = nullptr) noexcept;

// Dies with one line: the canary under f's stack was overwritten.
[[noreturn]] void stack_canary_dead(const fiber& f) noexcept;

// Looks for an overflow that already happened, on stacks without a guard. The bytes of an unused guard are zero (never-touched pages are),
// and stay zero when the pool's pages are given back: the canary costs no resident page.
inline bool canary_intact(const fiber& f) noexcept {
  const auto* words = reinterpret_cast<const uint64_t*>(f.canary);
  uint64_t seen = 0;
  for (int i = 1; i <= 16; ++i) seen |= words[-i];
  return seen == 0;
}

// The frames of a suspended fiber: suspended_frames of context.h, as switch_fiber suspends.
inline size_t fiber_frames(const fiber& f, const void** pcs, size_t most) noexcept {
  return suspended_frames(f.ctx, f.high, pcs, most, !WARREN_SWITCH_ANNOTATED);
}

namespace detail_switch {
// Moves the per-flow words of the thread: from the thread to `from`, from `to` to the thread. See the essay above.
[[gnu::always_inline]] inline void exchange_thread_words(thread_state& ts, fiber& from, fiber& to) noexcept {
  eh_state* const eh = ts.eh;
  if ((reinterpret_cast<uintptr_t>(eh->caught) | reinterpret_cast<uintptr_t>(to.eh.caught) | eh->uncaught | to.eh.uncaught) != 0)
      [[unlikely]] {
    from.eh = *eh;
    *eh = to.eh;
    // It is the thread's now; the test above looks at live values only. Not `to.eh = {}`: gcc would make a temporary, and leave its mark of
    // the end of a scope on this stack, in a function whose frame ASan does not know.
    to.eh.caught = nullptr;
    to.eh.uncaught = 0;
  }
  from.saved_errno = *ts.errno_location;
  *ts.errno_location = to.saved_errno;
}
}  // namespace detail_switch

// Suspends `from`, which runs now on the calling thread, and resumes `to`. Returns when `from` is resumed, perhaps on another thread: the
// caller must re-read whatever it knew of its thread, `ts` included. from_dies: `from` will never be resumed (ASan gives its fake stack
// back). `from.eh` must be zero at the first switch away, as prepare_fiber leaves it.
#if WARREN_SWITCH_ANNOTATED
void switch_fiber(thread_state& ts, fiber& from, fiber& to, bool from_dies = false) noexcept;
#else
[[gnu::always_inline]] inline void switch_fiber(thread_state& ts, fiber& from, fiber& to, bool from_dies = false) noexcept {
  (void)from_dies;
  if (from.canary != nullptr && !canary_intact(from)) [[unlikely]]
    stack_canary_dead(from);
  detail_switch::exchange_thread_words(ts, from, to);
  jump_context(&from.ctx.sp, to.ctx.sp);
}
#endif

}  // namespace warren::rt

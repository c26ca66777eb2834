// m: an OS thread that runs the scheduler on its own stack (g0) and goroutines on theirs.
#pragma once
#include <pthread.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>

#include "runtime/os/futex.h"
#include "runtime/sched/barrier_buffer.h"
#include "runtime/sched/g.h"
#include "runtime/sched/stack_sample.h"
#include "runtime/stack/overflow.h"

namespace warren::rt {

struct mcache;
struct p;
class scheduler;

// Whose the P of an M is while somebody tries to take it away (protocol: sched/in_rt.h).
enum p_claim : uint32_t {
  p_kept = 0,
  p_claimed = 1,  // the revoker wants it; whoever moves the word on first decides
  p_taken = 2,    // gone: the goroutine runs without a P until it comes to the scheduler
};

// What others ask of the goroutine that an M runs; looked at by every safepoint.
enum m_request : uint32_t {
  request_stop = 1,     // the world is being stopped
  request_preempt = 2,  // the time slice is over
};

struct m {
  scheduler* sched = nullptr;
  int32_t id = 0;

  // The bracket (sched/in_rt.h). Written by this M alone, read by whoever wants to take the P away.
  std::atomic<uint32_t> in_rt{1};
  std::atomic<uint32_t> revoked{p_kept};
  std::atomic<p*> claimed_p{nullptr};    // which P the claim is for
  std::atomic<uint32_t> times_taken{0};  // +1 before every taken → kept
  std::atomic<uint32_t> requests{0};     // m_request bits

  p* current_p = nullptr;  // nullptr in a declared blocking region and while idle. Outside brackets it may be out of date: see `revoked`
  // current_p's mcache at hand, which new_object takes objects from (malloc.cpp); nullptr: none, or each object is to go the long way.
  mcache* cache_at_hand = nullptr;
  p* old_p = nullptr;   // the P a blocking region was entered with
  p* next_p = nullptr;  // handed over by startm together with the wake-up
  g* curg = nullptr;    // the goroutine that runs, or ran last before the switch to g0

  fiber g0;             // the scheduler's flow of control: this thread's own stack
  thread_state thread;  // addresses of this thread's exception state and errno
  // mcall: what g0 does with curg after the switch. Returns the goroutine to go on with, or nullptr to schedule.
  g* (*mcall_fn)(m*, g*) = nullptr;
  void* mcall_arg = nullptr;
  g* left = nullptr;             // the goroutine that switched directly to curg, until curg has let it go (direct_switch.cpp)
  uint32_t direct_switches = 0;  // since g0 last had its turn

  std::atomic<g*> locked_g{nullptr};  // the only goroutine this thread runs (locked_thread.cpp)
  bool retiring = false;              // its thread is about to end
  bool spinning = false;              // looks for work and counts in scheduler::spinning_
  bool start_spinning = false;        // how startm wants it to begin
  uint32_t random = 1;                // xorshift state: victims of theft
  note park;                          // idle Ms sleep here
  m* idle_link = nullptr;             // list of idle Ms (scheduler lock)
  m* all_link = nullptr;              // all Ms, newest first; never unlinked while the scheduler lives
  pthread_t handle{};
  alternate_stack signal_stack;
  // Of the thread that runs it now; sysmon may look while an M that was retired gets another one.
  std::atomic<pid_t> tid{0};
  std::atomic<clockid_t> cpu_clock{};

  // Held by a stop of the world, in the handler of the preemption signal (sched/preempt.cpp): 1 until the world goes on. The registers of
  // the goroutine are in the signal frame, between held_frame and the top of signal_stack.
  std::atomic<uint32_t> held{0};
  bool held_with_p = false;
  const void* held_sp = nullptr;
  const void* held_frame = nullptr;

  barrier_buffer shaded;  // what stores of this thread have shaded (of goroutines with and without P, and of the scheduler's stack)

  // For reports: where the goroutine was when the signal came. Written by the handler before it sets `sampled`.
  std::atomic<uint32_t> sampled{0};  // 0: nothing, 1: sysmon wants a sample, 2: taken
  stack_sample sample;
  bool counts_as_hog = false;     // in scheduler::hogs_; guarded by whoever owns the claim word's `taken`
  std::atomic<bool> done{false};  // has left its loop: may be joined

  // On the new thread, after setm: what signals and sysmon need of it.
  void begin_thread();

  uint32_t next_random() noexcept {
    random ^= random << 13;
    random ^= random >> 17;
    random ^= random << 5;
    return random;
  }
};

// The M of this thread; nullptr on a thread the runtime did not start. The result must not be remembered across a switch. Why it is read
// in assembly: m.cpp. The memory clobber keeps the read on its side of every call, so of every switch.
[[gnu::always_inline]] inline m* getm() noexcept {
  m* mp;
#if defined(__x86_64__)
  asm volatile(
      "movq warren_current_m@gottpoff(%%rip), %0\n\t"
      "movq %%fs:(%0), %0"
      : "=&r"(mp)
      :
      : "memory");
#elif defined(__aarch64__)
  void* offset;
  asm volatile(
      "mrs %0, tpidr_el0\n\t"
      "adrp %1, :gottprel:warren_current_m\n\t"
      "ldr %1, [%1, #:gottprel_lo12:warren_current_m]\n\t"
      "ldr %0, [%0, %1]"
      : "=&r"(mp), "=&r"(offset)
      :
      : "memory");
#else
#error "no thread pointer for this processor: add how it reads a thread_local of the initial-exec model"
#endif
  return mp;
}
void setm(m* mp) noexcept;

// The sections of os/critical.h, for who has the M at hand: brackets without a P. They do not look at `revoked`: a P that is being taken is
// not needed there.
inline uint32_t enter_critical(m* mp) noexcept {
  const uint32_t outer = mp->in_rt.load(std::memory_order_relaxed);
  mp->in_rt.store(1, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return outer;
}
inline void leave_critical(m* mp, uint32_t outer) noexcept { mp->in_rt.store(outer, std::memory_order_release); }

}  // namespace warren::rt

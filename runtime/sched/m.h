// m: an OS thread that runs the scheduler on its own stack (g0) and goroutines on theirs.
#pragma once
#include <pthread.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>

#include "runtime/os/futex.h"
#include "runtime/sched/g.h"
#include "runtime/stack/overflow.h"

namespace warren::rt {

struct p;
class scheduler;

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
  std::atomic<uint32_t> revoked{0};   // set by a revoker before its membarrier
  std::atomic<uint32_t> requests{0};  // m_request bits

  p* current_p = nullptr;  // nullptr in a declared blocking region and while idle
  p* old_p = nullptr;      // the P a blocking region was entered with
  p* next_p = nullptr;     // handed over by startm together with the wake-up
  g* curg = nullptr;       // the goroutine that runs, or ran last before the switch to g0

  fiber g0;             // the scheduler's flow of control: this thread's own stack
  thread_state thread;  // addresses of this thread's exception state and errno
  // mcall: what g0 does with curg after the switch. Returns the goroutine to go on with, or nullptr to schedule.
  g* (*mcall_fn)(m*, g*) = nullptr;
  void* mcall_arg = nullptr;

  bool spinning = false;        // looks for work and counts in scheduler::spinning_
  bool start_spinning = false;  // how startm wants it to begin
  uint32_t random = 1;          // xorshift state: victims of theft
  note park;                    // idle Ms sleep here
  m* idle_link = nullptr;       // list of idle Ms (scheduler lock)
  m* all_link = nullptr;        // all Ms, newest first; never unlinked while the scheduler lives
  pthread_t handle{};
  alternate_stack signal_stack;
  std::atomic<bool> done{false};  // has left its loop: may be joined

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

}  // namespace warren::rt

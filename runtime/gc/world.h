// The collector's view of the program: stop it, look at its stacks and caches, let it go. The scheduler implements it (runtime/world.cpp),
// tests have fakes.
#pragma once
#include <cstddef>
#include <cstdint>

namespace warren::rt {

struct mcache;

class world {
 public:
  virtual ~world() = default;

  // After stop nobody but the caller runs code that touches collected memory or an mcache, until start. One stop at a time; a second caller
  // waits.
  virtual void stop(const char* why) = 0;
  virtual void start() = 0;

  // Calls fn(arg) so that the caller's own registers and frames are among the ranges for_each_stack reports.
  virtual void on_system_stack(void (*fn)(void*), void* arg) = 0;

  // Words [lo, hi) that may hold addresses of collected objects, saved registers included. exact: none of them is left over from a use of
  // the memory before the marking began (checkmark.h).
  using stack_visitor = void (*)(void* ctx, const void* lo, const void* hi, bool exact);

  // REQUIRES (both): stopped, in on_system_stack. All stacks; all mcaches.
  virtual void for_each_stack(stack_visitor visit, void* ctx) = 0;
  virtual void for_each_mcache(void (*visit)(void* ctx, mcache* c), void* ctx) = 0;

  // Running, between two pieces of something long, on the driver, no lock held: whoever wants the world to stop has it stop here.
  virtual void give_way() {}

  virtual int64_t nanotime() = 0;
  // Among how many processors the program's time is divided.
  virtual int procs() { return 1; }

  // ---- concurrent marking (what is what: sched/stack_scan.h). A world without it has its stacks scanned while it stands. ----
  // Stopped.
  virtual void begin_marking(uint32_t cycle, bool clear_stacks) { (void)cycle, (void)clear_stacks; }
  virtual void end_marking() {}
  // Stopped: the stacks that the concurrent scan could not do, and those that must be done again.
  virtual void rest_of_stacks(stack_visitor visit, void* ctx) { for_each_stack(visit, ctx); }
  // Running, any number of participants: batches [0, stack_batches()) are scanned once each; those that were busy may be tried again, by
  // one caller at a time. Returns how many are left.
  virtual size_t stack_batches() { return 0; }
  virtual void scan_batch(size_t i, stack_visitor visit, void* ctx) { (void)i, (void)visit, (void)ctx; }
  virtual size_t retry_stacks(stack_visitor visit, void* ctx) {
    (void)visit, (void)ctx;
    return 0;
  }
  // Running or stopped: takes what the barrier has shaded out of its buffers.
  virtual void take_barriers(void (*visit)(void* ctx, uintptr_t word), void* ctx) { (void)visit, (void)ctx; }
};

}  // namespace warren::rt

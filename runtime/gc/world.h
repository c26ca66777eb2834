// The collector's view of the program: stop it, look at its stacks and caches, let it go. The scheduler implements it (runtime/world.cpp),
// tests have fakes.
#pragma once
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

  // REQUIRES (both): stopped, in on_system_stack. Ranges [lo, hi) of words that may hold addresses of collected objects, saved registers
  // included.
  virtual void for_each_stack(void (*visit)(void* ctx, const void* lo, const void* hi), void* ctx) = 0;
  virtual void for_each_mcache(void (*visit)(void* ctx, mcache* c), void* ctx) = 0;

  virtual int64_t nanotime() = 0;
};

}  // namespace warren::rt

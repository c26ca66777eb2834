// Stack overflow as a named crash.
#pragma once
#include <signal.h>

#include <cstddef>

#include "runtime/stack/stack_arena.h"

namespace warren::rt {

// Writes a short name ("goroutine 17") of what runs on the slot into buf (n bytes, zero-terminated). Called in a signal handler on the
// alternate stack: may read the slot's control block, must not lock, allocate or fault.
using describe_slot = void (*)(const void* slot, char* buf, size_t n);

// From now on a fault (SIGSEGV, SIGBUS) inside a guard of the arena prints
//   fatal error: goroutine 17: stack overflow (64 KiB limit; start it with a larger warren::stack_size)
// and the innermost frames, then aborts. Every other fault goes to the handler that was installed before, or to the default action.
// One arena at a time; a second call replaces arena and callback. Not thread safe against itself: the runtime's start and end call it.
void install_overflow_handler(const stack_arena* arena, describe_slot describe);

// Restores the handlers that were there before (unless somebody replaced ours meanwhile: then ours stays and passes every fault on).
void remove_overflow_handler();

// The calling thread's alternate signal stack: a handler cannot run on the stack that overflowed. Each M has one; preemption signals use
// it, too.
class alternate_stack {
 public:
  alternate_stack() = default;
  alternate_stack(const alternate_stack&) = delete;
  alternate_stack& operator=(const alternate_stack&) = delete;
  // Makes and installs one for the calling thread. Dies with one line when there is no memory.
  void setup();
  // Restores what the thread had before. REQUIRES: the thread that called setup, outside a signal handler.
  void teardown();
  bool contains(const void* a) const noexcept {
    return static_cast<size_t>(static_cast<const std::byte*>(a) - static_cast<const std::byte*>(mapping_)) < mapping_bytes_;
  }
  // One past its highest address.
  const void* top() const noexcept { return static_cast<std::byte*>(mapping_) + mapping_bytes_; }

 private:
  void* mapping_ = nullptr;
  size_t mapping_bytes_ = 0;
  stack_t previous_{};
};

}  // namespace warren::rt

// What sanitizers and valgrind must be told when the stack changes under them. Compiled to nothing otherwise.
//
//   ASan      knows one stack per thread. Before a switch it is told the new stack's bounds and hands over the fake stack of
//             use-after-return detection; after it, it takes them back. A dying fiber passes no place for its fake stack: it is freed.
//             A pooled stack may still carry the poison of frames that never returned: unpoisoned at reuse.
//   TSan      has a shadow stack and a vector clock per thread or fiber. Fibers are expensive to make and few (8128 with the threads in one
//             process, then TSan ends it), so each slot of the arena has one, made at its first use and kept. The call must be made where
//             no instrumented frame begins or ends between it and the jump, or the shadow stacks drift: the switch is one uninstrumented
//             function.
//   valgrind  guesses a stack change by the size of the jump of the stack pointer; registered stacks make it certain. Only in builds
//             configured with -DWARREN_VALGRIND=ON.
//
// A switch is also a happens-before edge for TSan (flags 0): whoever resumes a fiber has synchronized with whoever suspended it by the run
// queue's own atomics, which TSan sees; the edge within one thread is what really happens.
#pragma once
#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define WARREN_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WARREN_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define WARREN_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WARREN_TSAN 1
#endif
#endif
#ifndef WARREN_ASAN
#define WARREN_ASAN 0
#endif
#ifndef WARREN_TSAN
#define WARREN_TSAN 0
#endif
#ifndef WARREN_VALGRIND
#define WARREN_VALGRIND 0
#endif
#define WARREN_SWITCH_ANNOTATED (WARREN_ASAN || WARREN_TSAN)

#if WARREN_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if WARREN_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if WARREN_VALGRIND
#include <valgrind/valgrind.h>
#endif

// For functions at a fiber's bottom that are entered and never left: TSan would push a frame on the slot's shadow stack for each goroutine
// that ever began there and pop none, until it overflows after some ten thousand goroutines.
#if WARREN_TSAN && defined(__clang__)
#define WARREN_NEVER_RETURNS_TSAN __attribute__((disable_sanitizer_instrumentation))
#elif WARREN_TSAN
#define WARREN_NEVER_RETURNS_TSAN __attribute__((no_sanitize_thread))
#else
#define WARREN_NEVER_RETURNS_TSAN
#endif

namespace warren::rt {

// A stack from the arena is about to be used by somebody new.
inline void annotate_stack_reuse([[maybe_unused]] void* low, [[maybe_unused]] size_t bytes) noexcept {
#if WARREN_ASAN
  __asan_unpoison_memory_region(low, bytes);
#endif
}

}  // namespace warren::rt

#include "runtime/stack/switch.h"

#include <cxxabi.h>
#include <errno.h>
#include <pthread.h>

#include "runtime/os/fatal.h"

namespace warren::rt {

namespace {

// The innermost C++ frame of every fiber.
WARREN_NEVER_RETURNS_TSAN void start_fiber(void* p) {
  auto* f = static_cast<fiber*>(p);
#if WARREN_ASAN
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);  // there is no fake stack yet
#endif
  f->entry(f->arg);
}

[[noreturn]] void ended_without_end(void*) { fatal("the entry function of a fiber returned: it must end by switching away for good"); }

}  // namespace

void thread_state_init(thread_state& ts) noexcept {
  static_assert(sizeof(eh_state) == 2 * sizeof(void*));
  ts.eh = reinterpret_cast<eh_state*>(abi::__cxa_get_globals());
  ts.errno_location = &errno;
}

void adopt_thread(fiber& f) noexcept {
  f = fiber{};
  pthread_attr_t attr;
  if (const int error = pthread_getattr_np(pthread_self(), &attr); error != 0) {
    fatal("cannot learn the bounds of a thread's stack: error %d; /proc must be mounted", error);
  }
  void* low;
  size_t size;
  pthread_attr_getstack(&attr, &low, &size);
  pthread_attr_destroy(&attr);
  f.low = static_cast<std::byte*>(low);
  f.high = f.low + size;
#if WARREN_TSAN
  f.tsan_fiber = __tsan_get_current_fiber();
#endif
}

void prepare_fiber(fiber& f, stack_arena& arena, std::byte* slot, std::byte* top, void (*entry)(void*), void* arg,
                   void (*end)(void*)) noexcept {
  f = fiber{};
  f.low = stack_low(slot);
  f.high = top;
  f.canary = arena.guarded(slot) ? nullptr : f.low;
  f.entry = entry;
  f.arg = arg;
  f.tsan_fiber = arena.sanitizer_fiber(slot);
  annotate_stack_reuse(f.low, static_cast<size_t>(top - f.low));
  f.ctx.sp = make_context(top, &start_fiber, &f, end != nullptr ? end : &ended_without_end);
}

void stack_canary_dead(const fiber& f) noexcept {
  fatal("stack overflow: %zu KiB stack at %p was overrun (found late, it has no guard page); start it with a larger warren::stack_size",
        static_cast<size_t>(f.high - f.low + 1023) / 1024, static_cast<const void*>(f.low));
}

#if WARREN_SWITCH_ANNOTATED
// No frame of an instrumented function may begin or end between the annotation and the jump, so this one is not instrumented and everything
// it calls is inline (gcc refuses to inline into it what is instrumented: hence the attribute there, and -O2 for this file).
#if defined(__clang__)
__attribute__((disable_sanitizer_instrumentation))
#endif
__attribute__((noinline, no_sanitize_address, no_sanitize_thread)) void
switch_fiber(thread_state& ts, fiber& from, fiber& to, [[maybe_unused]] bool from_dies) noexcept {
  if (from.canary != nullptr && !canary_intact(from)) stack_canary_dead(from);
  detail_switch::exchange_thread_words(ts, from, to);
#if WARREN_ASAN
  __sanitizer_start_switch_fiber(from_dies ? nullptr : &from.asan_fake_stack, to.low, static_cast<size_t>(to.high - to.low));
#endif
#if WARREN_TSAN
  __tsan_switch_to_fiber(to.tsan_fiber, 0);
#endif
  warren_context_switch(&from.ctx.sp, to.ctx.sp);
#if WARREN_ASAN
  __sanitizer_finish_switch_fiber(from.asan_fake_stack, nullptr, nullptr);
#endif
}
#endif

}  // namespace warren::rt

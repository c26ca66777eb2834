// The one thread_local of the runtime.
//
// Compilers take the address of a thread_local for constant within a function and keep it in a register; after a park the goroutine may be
// on another thread, and the register points into the first one's storage. (GCC bug 26461, LLVM 47179; brpc #1776, userver #242: volatile,
// atomics and empty asm do not help against it, only a call the compiler cannot look into does.) So there is exactly one, private to this
// file, read through a function that is not inlined, in a translation unit that is never built with LTO, and callers read it again after
// everything that may switch. tests/lint refuses any other thread_local.
#include "runtime/sched/m.h"

namespace warren::rt {

namespace {
thread_local m* tls_m = nullptr;
}

m* getm() noexcept {
  m* mp = tls_m;
  asm volatile("" : "+r"(mp));  // the value is opaque to callers: no interprocedural analysis concludes that two calls return the same
  return mp;
}

void setm(m* mp) noexcept { tls_m = mp; }

}  // namespace warren::rt

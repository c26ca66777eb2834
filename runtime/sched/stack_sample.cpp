#include "runtime/sched/stack_sample.h"

#include <ucontext.h>

#include "runtime/sched/g.h"

namespace warren::rt {

namespace {
struct registers {
  uintptr_t pc, sp, fp;
};

registers registers_of(const void* context) noexcept {
  const auto* uc = static_cast<const ucontext_t*>(context);
#if defined(__x86_64__)
  const auto& r = uc->uc_mcontext.gregs;
  return {static_cast<uintptr_t>(r[REG_RIP]), static_cast<uintptr_t>(r[REG_RSP]), static_cast<uintptr_t>(r[REG_RBP])};
#elif defined(__aarch64__)
  const auto& r = uc->uc_mcontext;
  return {r.pc, r.sp, r.regs[29]};
#endif
}
}  // namespace

const void* interrupted_sp(const void* uc) noexcept { return reinterpret_cast<const void*>(registers_of(uc).sp); }

// The instrumentation of a sanitizer must not look at a stack that is not the handler's.
#if defined(__clang__) || defined(__GNUC__)
__attribute__((no_sanitize("address"))) __attribute__((no_sanitize("thread")))
#endif
void take_sample(stack_sample& s, const g* gp, const void* uc) noexcept {
  const registers r = registers_of(uc);
  s.goid = gp->goid;
  s.spawn_pc = gp->spawn_pc;
  s.count = 0;
  s.frames[s.count++] = reinterpret_cast<const void*>(r.pc);
  const uintptr_t high = reinterpret_cast<uintptr_t>(gp);  // the goroutine's record lies above its stack
  uintptr_t fp = r.fp;
  while (s.count < stack_sample::kFrames && fp >= r.sp && fp + 2 * sizeof(uintptr_t) <= high && fp % sizeof(uintptr_t) == 0) {
    const auto* record = reinterpret_cast<const uintptr_t*>(fp);
    if (record[1] == 0) return;
    s.frames[s.count++] = reinterpret_cast<const void*>(record[1] - 1);  // inside the call, not behind it
    if (record[0] <= fp) return;
    fp = record[0];
  }
}

}  // namespace warren::rt

#include "runtime/diag/goroutine_dump.h"

#include <execinfo.h>
#include <unistd.h>

#include "runtime/os/fatal.h"
#include "runtime/sched/scheduler.h"

namespace warren::rt {

namespace {
constexpr int kMaxFrames = 64;
// Where the switch put the frame record (frame pointer, return address), from the saved stack pointer: see the layouts at the head of
// stack/context_*.S.
#if defined(__x86_64__)
constexpr size_t kFrameRecordOffset = 5 * sizeof(void*);
#else
constexpr size_t kFrameRecordOffset = 0;
#endif

// Walks the frame-pointer chain of a suspended goroutine. The switch pushed rbp (x29) with the other registers: code compiled with frame
// pointers links to it.
void print_frames(const g* gp) noexcept {
  auto inside = [gp](uintptr_t a) {
    return a >= reinterpret_cast<uintptr_t>(gp->stack_state.ctx.sp) && a + 2 * sizeof(void*) <= reinterpret_cast<uintptr_t>(gp) &&
           a % sizeof(void*) == 0;
  };
  void* frames[kMaxFrames];
  int n = 0;
  uintptr_t fp = reinterpret_cast<uintptr_t>(gp->stack_state.ctx.sp) + kFrameRecordOffset;
  while (n < kMaxFrames && inside(fp)) {
    const auto* words = reinterpret_cast<const uintptr_t*>(fp);
    if (words[1] == 0) break;
    frames[n++] = reinterpret_cast<void*>(words[1]);
    if (words[0] <= fp) break;
    fp = words[0];
  }
  for (int i = 0; i < n; ++i) {
    print_error("\t");
    backtrace_symbols_fd(&frames[i], 1, STDERR_FILENO);
  }
}
}  // namespace

void dump_goroutines(scheduler& s) noexcept {
  goroutine_pool& pool = s.pool();
  const uint32_t n = pool.g_count();
  for (uint32_t i = 0; i < n; ++i) {
    const g* gp = pool.g_at(i);
    const g_status status = gp->status.load(std::memory_order_acquire);
    if (status == g_status::dead) continue;
    print_error("goroutine %llu [%s]:\n", static_cast<unsigned long long>(gp->goid),
                status == g_status::waiting ? to_string(gp->reason) : to_string(status));
    if (status == g_status::waiting || status == g_status::runnable) print_frames(gp);
    print_error("\n");
  }
}

}  // namespace warren::rt

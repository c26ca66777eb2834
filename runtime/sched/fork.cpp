#include "runtime/sched/fork.h"

#include <pthread.h>

#include <atomic>

#include "runtime/diag/sigquit.h"
#include "runtime/os/fatal.h"
#include "runtime/sched/m.h"
#include "runtime/sched/scheduler.h"

namespace warren::rt {

namespace {
std::atomic<bool> forked{false};

// In the child, before fork returns: async-signal-safe calls only.
void in_child() {
  if (scheduler::current() == nullptr) return;
  forked.store(true, std::memory_order_relaxed);
  setm(nullptr);
  scheduler::forget_running();
  remove_quit_handler();  // there is no sysmon to print
}
}  // namespace

void watch_forks() noexcept {
  static const int error = pthread_atfork(nullptr, nullptr, &in_child);
  if (error != 0) fatal("cannot watch for forks (error %d): out of memory", error);
}

void check_not_forked() noexcept {
  if (!forked.load(std::memory_order_relaxed)) return;
  fatal(
      "the runtime was called in a forked child: it has none of warren's threads; exec or _exit there, or start programs by "
      "warren::spawn_process");
}

}  // namespace warren::rt

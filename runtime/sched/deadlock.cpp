// Is anybody left who could wake anybody?
#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/diag/goroutine_dump.h"
#include "runtime/os/fatal.h"
#include "runtime/sched/scheduler.h"

namespace warren::rt {

namespace {
// Threads of this process, by the kernel's count. A C++ program may have threads that warren did not start; one of them may ready a
// goroutine at any time.
uint32_t kernel_thread_count() {
  DIR* d = opendir("/proc/self/task");
  if (d == nullptr) return UINT32_MAX;  // cannot tell: assume there are others
  uint32_t n = 0;
  while (const dirent* e = readdir(d))
    if (e->d_name[0] != '.') ++n;
  closedir(d);
  return n;
}
}  // namespace

// Called with lock_ held whenever an M goes to sleep. All Ms asleep means: nobody runs, nobody is in a blocking region (that M is not idle)
// and nobody waits in the poller (neither is that one). Then only a timer, a thread outside, or the poller (if goroutines wait on
// descriptors: somebody will go there) can bring life back.
void scheduler::check_dead() noexcept {
  const uint32_t asleep = idle_m_count_ + locked_asleep_;
  if (asleep < live_ms()) return;
  if (stopping_.load(std::memory_order_relaxed) != 0 || exiting() || idle_p_count() != all_p_.in_use()) return;
  if (global_size() != 0 || any_queued()) return;
  for (const auto& pp : all_p_)
    if (!pp->timers.empty()) return;
  if (poller_.load(std::memory_order_relaxed)->waiters() > 0) return;
  // The poller has handed somebody out to sysmon, which has no P and is no M. The flag was set before `waiters` fell; once it is cleared
  // they are in the queue.
  std::atomic_thread_fence(std::memory_order_acquire);
  if (sysmon_holds_.load(std::memory_order_seq_cst)) return;
  if (global_size() != 0) return;
  if (kernel_thread_count() > asleep + 1) return;  // ours: the Ms and sysmon
  print_error("fatal error: all goroutines are asleep - deadlock!\n\n");
  dump_goroutines(*this);
  _exit(2);  // as a Go program does
}

}  // namespace warren::rt

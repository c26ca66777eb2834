#include "runtime/diag/sigquit.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>

#include "runtime/diag/goroutine_dump.h"
#include "runtime/os/fatal.h"

namespace warren::rt {

namespace {
std::atomic<bool> requested{false};
std::atomic<void (*)()> wake_monitor{nullptr};
bool installed = false;  // runs begin and end one after the other

void on_quit(int) {
  requested.store(true, std::memory_order_seq_cst);
  if (void (*wake)() = wake_monitor.load(std::memory_order_acquire)) wake();
}
}  // namespace

void install_quit_handler(void (*wake)()) noexcept {
  wake_monitor.store(wake, std::memory_order_release);
  struct sigaction now {};
  if (sigaction(SIGQUIT, nullptr, &now) != 0 || (now.sa_flags & SA_SIGINFO) != 0 || now.sa_handler != SIG_DFL) return;
  struct sigaction ours {};
  ours.sa_handler = &on_quit;
  ours.sa_flags = SA_ONSTACK | SA_RESTART;
  sigemptyset(&ours.sa_mask);
  installed = sigaction(SIGQUIT, &ours, nullptr) == 0;
}

void remove_quit_handler() noexcept {
  wake_monitor.store(nullptr, std::memory_order_release);
  if (!installed) return;
  installed = false;
  struct sigaction now {};
  if (sigaction(SIGQUIT, nullptr, &now) != 0 || (now.sa_flags & SA_SIGINFO) != 0 || now.sa_handler != &on_quit) return;
  struct sigaction by_default {};
  by_default.sa_handler = SIG_DFL;
  sigaction(SIGQUIT, &by_default, nullptr);
}

bool quit_requested() noexcept { return requested.load(std::memory_order_seq_cst); }

void dump_and_quit(scheduler& s) noexcept {
  print_error("SIGQUIT: quit\n\n");
  dump_goroutines(s, dump_state::running);
  _exit(2);
}

}  // namespace warren::rt

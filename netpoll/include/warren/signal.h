// Signals as something a goroutine waits for: SIGTERM, SIGINT and the like, through the poller.
//
//   int main() {
//     warren::block_signals({SIGTERM, SIGINT});   // first: every later thread inherits the mask
//     return warren::run([] {
//       … start the server …
//       int sig = warren::wait_signal({SIGTERM, SIGINT});
//       … shut down …
//     });
//   }
#pragma once

#ifndef ASIO_STANDALONE
#define ASIO_STANDALONE 1
#endif

#include <signal.h>

#include <asio/error.hpp>
#include <chrono>
#include <initializer_list>
#include <vector>

namespace warren {

namespace rt {
class fd;
}

// Blocks the signals in the calling thread, so that they queue up for wait_signal instead of ending the process. Call it in main before
// warren::run and before any thread is started: threads inherit the mask, and a signal goes to any thread that does not block it.
// Child processes inherit it too: unblock there before exec if the child shall react. Throws net_error for a number that is no signal
// or cannot be waited for (SIGKILL, SIGSTOP, and SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, which report faults of the thread itself).
void block_signals(std::initializer_list<int> signals);

// Parks until one of the signals arrives (or takes one that is pending) and returns its number. Two goroutines waiting for the same signal:
// one gets it. Throws net_error if a signal is not blocked in the calling thread ("call block_signals first in main").
// A signal that nobody waits for stays pending: a second SIGINT during shutdown does nothing unless somebody waits for it again.
int wait_signal(std::initializer_list<int> signals);

// The same, kept: for several waits, a deadline, or waiting while another goroutine may end the wait. Move-only.
class signal_set {
 public:
  signal_set() noexcept = default;
  explicit signal_set(std::initializer_list<int> signals);  // throws as wait_signal does
  signal_set(signal_set&& from) noexcept : fd_(from.fd_) { from.fd_ = nullptr; }
  signal_set& operator=(signal_set&& from) noexcept;
  ~signal_set();

  // The signal's number; 0 with ec set: timed_out, operation_aborted (closed meanwhile), bad_descriptor.
  int wait(asio::error_code& ec);
  int wait();

  void deadline(std::chrono::steady_clock::time_point t);
  void deadline(std::chrono::nanoseconds d);
  void close() noexcept;

 private:
  rt::fd* fd_ = nullptr;
};

}  // namespace warren

// Signals as something a goroutine waits for: SIGTERM, SIGINT and the like, through the poller. Two ways:
//
// As values on a channel, as Go's os/signal has them; for select, for several listeners, at any time, on any system:
//
//   warren::chan<int> c = warren::make_chan<int>(1);
//   warren::signal_notify(c, {SIGTERM, SIGINT});
//   warren::select(warren::recv(c, …), warren::recv(done));
//
// By waiting, on Linux; no handler is installed, nothing is lost that arrives while nobody waits:
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

#include "warren/chan.h"

namespace warren {

namespace rt {
class fd;
}

// From now on each of the signals that reaches the process is sent to c. (Those of an earlier call for the same c stay.) The send does
// not wait: when c is full the signal is dropped for c, so give it room for at least one; and as with every Unix signal two of a kind
// in quick succession may arrive as one. Several channels may ask for the same signal: each gets it. What the signal would have done before
// (ending the process) it does not do any more, until the last channel is stopped.
// A safepoint; on a goroutine. Throws net_error for a number that is no signal or cannot be waited for (see block_signals), for a signal
// that is blocked in the calling thread, and for a nil channel. The end of warren::run ends it all, as if every channel were stopped: from
// then on the signals do again what they did before, and a second SIGTERM while main cleans up ends the process.
void signal_notify(const chan<int>& c, std::initializer_list<int> signals);

// c gets no signal any more; when this returns none is on its way. Signals that no channel is left for do again what they did before.
// c need not have been notified. On a goroutine; may park a moment.
void signal_stop(const chan<int>& c);

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

// Signals through a signalfd that the poller watches.
//
// A signalfd hands out the signals that are pending for the reading thread or for the process. Those sent to the process (kill, Ctrl-C, a
// service manager) can be read by whatever thread the goroutine is on; those sent to one thread (raise, pthread_kill) by that thread only,
// so they are not for this.
#include "warren/signal.h"

#include <sys/signalfd.h>

#include "netpoll/fd.h"
#include "netpoll/net_error.h"
#include "netpoll/signal_numbers.h"
#include "netpoll/sys.h"
#include "warren/net.h"

namespace warren {

namespace {

namespace sys = rt::sys;

int wait_on(rt::fd* f, asio::error_code& ec) {
  if (f == nullptr) {
    ec = asio::error::bad_descriptor;
    return 0;
  }
  signalfd_siginfo info;
  f->read(&info, sizeof info, ec);
  return ec ? 0 : static_cast<int>(info.ssi_signo);
}

}  // namespace

void block_signals(std::initializer_list<int> signals) {
  const sigset_t set = rt::check_signals("block_signals", signals);
  const sys::result r = sys::block_signals(set);
  if (!r.ok()) detail::throw_net_error("block_signals", asio::error_code(r.error, asio::system_category()));
}

signal_set::signal_set(std::initializer_list<int> signals) {
  const sigset_t set = rt::check_signals("wait_signal", signals);
  sigset_t blocked;
  sys::blocked_signals(&blocked);
  for (const int s : signals)
    if (sigismember(&blocked, s) != 1)
      rt::refuse_signal("wait_signal", s, "is not blocked and would end the process; call warren::block_signals first in main");
  const sys::result r = sys::signalfd(set);
  asio::error_code ec(r.error, asio::system_category());
  if (!ec) fd_ = rt::fd::open(static_cast<int>(r.value), ec);
  if (ec) detail::throw_net_error("wait_signal", ec);
}

signal_set& signal_set::operator=(signal_set&& from) noexcept {
  if (this != &from) {
    if (fd_ != nullptr) fd_->release();
    fd_ = from.fd_;
    from.fd_ = nullptr;
  }
  return *this;
}

signal_set::~signal_set() {
  if (fd_ != nullptr) fd_->release();
}

int signal_set::wait(asio::error_code& ec) { return wait_on(fd_, ec); }

int signal_set::wait() {
  asio::error_code ec;
  const int s = wait_on(fd_, ec);
  if (ec) detail::throw_net_error("wait_signal", ec);
  return s;
}

void signal_set::deadline(std::chrono::steady_clock::time_point t) {
  if (fd_ != nullptr) fd_->set_deadline(detail::deadline_ns(t), rt::kReadSide);
}

void signal_set::deadline(std::chrono::nanoseconds d) {
  if (fd_ != nullptr) fd_->set_deadline(detail::deadline_after(d), rt::kReadSide);
}

void signal_set::close() noexcept {
  if (fd_ == nullptr) return;
  asio::error_code ignored;
  fd_->close(ignored);
}

int wait_signal(std::initializer_list<int> signals) { return signal_set(signals).wait(); }

}  // namespace warren

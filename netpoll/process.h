// child: what the handles on one child process share.
//
// The end of the child is awaited through a pidfd that the poller watches: it becomes readable when the child has ended, and the goroutine
// asks waitid. Where there is no pidfd (before Linux 5.3, in some sandboxes) or the poller does not take it, a blocking region waits in
// waitid, a thread for each waiting goroutine.
//
// A process number belongs to the child until its status was taken. So wait first looks without taking; the taking, and each kill by
// number, happen under one lock: no signal can go to a stranger.
#pragma once
#include <sys/types.h>

#include <atomic>

#include "netpoll/fd.h"
#include "runtime/os/mutex.h"
#include "warren/process.h"

namespace warren::rt {

class child {
 public:
  explicit child(pid_t pid) noexcept;
  ~child();
  child(const child&) = delete;
  child& operator=(const child&) = delete;

  pid_t id() const noexcept { return pid_; }
  exit_status wait(asio::error_code& ec);
  void kill(int signal, asio::error_code& ec) noexcept;
  bool by_poller() const noexcept { return fd_ != nullptr; }

 private:
  sys::result take(exit_status* out) noexcept;  // EAGAIN: it runs still

  const pid_t pid_;
  fd* fd_ = nullptr;  // the pidfd; nullptr: blocking waits
  mutex lock_;
  // Guarded by lock_.
  bool ended_ = false;  // the status was taken
  int error_ = 0;       // or could not be
  exit_status status_;
};

// For tests: children that are started while it is set have no pidfd.
extern std::atomic<bool> test_without_pidfd;

}  // namespace warren::rt

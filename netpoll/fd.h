// fd: one open, non-blocking descriptor that goroutines share: reading, writing, waiting, deadlines, closing.
//
// The connections, listeners and signal_set are handles on an fd; so can be anything else the poller knows (pipes, eventfds, timerfds).
// Errors are asio::error_code as <warren/net.h> describes them.
//
// Lifetime: made by open(), owned by one handle. release() closes and gives the handle up; the memory goes when also the last operation has
// left.
#pragma once
#include <sys/socket.h>
#include <sys/uio.h>

#include <asio/error.hpp>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "netpoll/fd_mutex.h"
#include "netpoll/poll_desc.h"
#include "netpoll/sys.h"

namespace warren::rt {

enum class park_mode : uint8_t {
  never,  // would_block instead
  once,   // until something could be done
  all,    // until everything was (write only)
};

class fd {
 public:
  // Takes over a descriptor that is non-blocking and that nobody else uses, and registers it. On failure closes it and returns nullptr.
  static fd* open(int sysfd, asio::error_code& ec);
  void release() noexcept;

  // Receives with recv(2) / readv(2); value 0 of the call is eof. size > 0.
  size_t recv(void* data, size_t size, park_mode mode, asio::error_code& ec);
  size_t recv(const iovec* v, int count, size_t size, park_mode mode, asio::error_code& ec);
  // As recv for descriptors that are not sockets.
  size_t read(void* data, size_t size, asio::error_code& ec);
  // Sends with send(2) / sendmsg(2). In mode `all` v is used up as it goes.
  size_t send(const void* data, size_t size, park_mode mode, asio::error_code& ec);
  size_t send(iovec* v, int count, size_t size, park_mode mode, asio::error_code& ec);

  // One datagram, by recvmsg(2) / sendmsg(2); what they fill in of *m is for the caller. mode: never or once.
  size_t receive_message(msghdr* m, park_mode mode, asio::error_code& ec);
  void send_message(const msghdr* m, park_mode mode, asio::error_code& ec);

  // For descriptors of other kinds: calls call(sysfd, arg) until it gives something other than EAGAIN, and parks between calls until the
  // descriptor may be ready on that side. Returns the call's value, or 0 with ec. One call at a time and side.
  size_t operate(uint8_t side, park_mode mode, sys::result (*call)(int sysfd, void* arg), void* arg, asio::error_code& ec);

  // Until a recv would return something (see tcp_conn::wait_readable).
  bool wait_readable(asio::error_code& ec);
  // See stream::go_when_readable.
  bool go_when_readable(void (*fn)(void* arg), void* arg, asio::error_code& ec);

  // One connection of a listening socket, or -1. Pauses after descriptor exhaustion as tcp_listener::accept describes.
  int accept(asio::error_code& ec);

  // Waits until the connect that sysfd has begun is through. No system call has failed yet.
  void finish_connect(asio::error_code& ec);

  void set_deadline(int64_t when, uint8_t sides) noexcept;
  void close(asio::error_code& ec) noexcept;
  bool is_open() const noexcept { return !mutex_.closed(); }
  int number() const noexcept { return is_open() ? sysfd_ : -1; }

  // Runs call(sysfd) → sys::result while the descriptor is kept from being closed. For options and names.
  template <class Call>
  sys::result with(Call call, asio::error_code& ec) const {
    fd* self = const_cast<fd*>(this);
    sys::result r;
    if (!self->mutex_.incref()) {
      ec = asio::error::bad_descriptor;
      return sys::result{-1, EBADF};
    }
    r = call(sysfd_);
    self->left(self->mutex_.decref());
    set(ec, r.error);
    return r;
  }

  static void set(asio::error_code& ec, int error) noexcept {
    if (error == 0) {
      ec.clear();
    } else {
      ec.assign(error, asio::system_category());
    }
  }

 private:
  friend struct fd_test;
  fd(int sysfd, poll_desc* pd) noexcept : sysfd_(sysfd), pd_(pd) {}
  ~fd() = default;

  template <class Call>
  size_t transfer(uint8_t side, park_mode mode, asio::error_code& ec, Call call);
  bool enter(uint8_t side, park_mode mode, asio::error_code& ec);
  bool enter_to_wait(bool& readable, asio::error_code& ec);
  bool start_when_readable(void (*fn)(void* arg), void* arg);
  static void resume(void* self);
  void leave(uint8_t side) noexcept { left(mutex_.unlock(side == kReadSide)); }
  void left(bool last) noexcept {
    if (last) [[unlikely]]
      destroy();
  }
  void destroy() noexcept;
  void unref() noexcept;
  static bool report(poll_error e, asio::error_code& ec) noexcept;
  static bool commit_close_wait(g* gp, void* self) noexcept;

  const int sysfd_;
  poll_desc* const pd_;
  fd_mutex mutex_;
  // The socket's receive queue was empty at the last look; guarded by the read lock. True at first: registering reports what is there
  // already.
  bool drained_ = true;
  int64_t accept_pause_ = 0;  // the last one, 0 after a success; guarded by the read lock
  // What go_when_readable starts; guarded by the read lock.
  void (*continuation_)(void* arg) = nullptr;
  void* continuation_arg_ = nullptr;
  // The goroutine in close() that waits for the descriptor to be closed: nullptr, it, or kDestroyed.
  std::atomic<uintptr_t> closer_{0};
  uint64_t closer_run_ = 0;          // the run it is of; written before it
  std::atomic<uint32_t> owners_{2};  // the handle, and the descriptor while it is open
};

}  // namespace warren::rt

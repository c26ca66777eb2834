// Reading, writing and closing a shared descriptor.
//
// The fast path of a read: one compare-and-swap for the lock, one load in prepare, recv(2), one compare-and-swap to unlock. The kernel is
// asked first and the goroutine parks on EAGAIN only; after EAGAIN there is no further system call until the next recv.
//
// wait_readable and the end of the queue. Edges are remembered as one bit, which `prepare` clears before each recv. So when data is left
// over by a recv that filled its buffer, no bit and no further edge announces it. drained_ says whether the last look found the queue
// empty: the call gave EAGAIN, or less than was asked for (for a stream socket the same thing; epoll(7)). Data that comes after that look
// is a new edge. Only when it is not known to be empty a one-byte MSG_PEEK asks. The end of the stream needs more care: data and FIN that
// come together are one edge, a short read of the data looks like "drained", and nothing more will come. Hence poll_desc::ended(), set for
// good by the event's EPOLLRDHUP, which makes wait_readable peek. (Known from tokio, which cleared readiness on short reads and hung.) A
// short read can also come from a TCP urgent mark. A peer that sends urgent data and nothing after it can stall a wait_readable on its own
// connection until the deadline; nobody else's.
//
// close(): marks the mutex (later operations get bad_descriptor), evicts (parked ones wake with operation_aborted) and waits until the last
// of them has given its reference back, whereupon that one closes the number. On return the port is free and the number may be reused. A
// goroutine of an earlier run that was left parked here holds a lock that nobody will ever give back: evict finds it, and close gives it
// back for it.
#include "netpoll/fd.h"

#include <errno.h>

#include <new>

#include "netpoll/poller.h"
#include "runtime/sched/scheduler.h"
#include "runtime/sync/deferred_go.h"
#include "warren/go.h"

namespace warren::rt {

namespace {
constexpr uintptr_t kDestroyed = 1;
constexpr int kMore = -1;                           // in sys::result::error, no errno: done in part, call again at once
constexpr int64_t kFirstBackoff = 5'000'000;        // 5 ms …
constexpr int64_t kLongestBackoff = 1'000'000'000;  // … to 1 s, as Go's net/http
constexpr int64_t kBackoffSlice = 10'000'000;       // how soon a close ends the pause
}  // namespace

fd* fd::open(int sysfd, asio::error_code& ec) {
  int error = 0;
  poller* p = poller::get(&error);
  if (p == nullptr) {
    sys::close(sysfd);
    set(ec, error);
    return nullptr;
  }
  p->attach();
  poll_desc* pd = poll_desc::acquire();
  error = p->add(sysfd, pd->token());
  if (error != 0) {
    p->closing(sysfd);
    poll_desc::release(pd);
    sys::close(sysfd);
    set(ec, error);
    return nullptr;
  }
  ec.clear();
  return new fd(sysfd, pd);
}

bool fd::report(poll_error e, asio::error_code& ec) noexcept {
  switch (e) {
    case poll_error::none: return true;
    case poll_error::closing: ec = asio::error::operation_aborted; return false;
    case poll_error::timeout: ec = asio::error::timed_out; return false;
  }
  return true;
}

bool fd::enter(uint8_t side, park_mode mode, asio::error_code& ec) {
  const bool read = side == kReadSide;
  if (mutex_.try_lock(read)) [[likely]]
    return true;
  if (mode == park_mode::never && !mutex_.closed()) {
    ec = asio::error::would_block;
    return false;
  }
  const bool was_open = !mutex_.closed();
  if (mutex_.lock(read)) return true;
  ec = was_open ? asio::error_code(asio::error::operation_aborted) : asio::error_code(asio::error::bad_descriptor);
  return false;
}

// Calls call() until it does something other than EAGAIN. REQUIRES: nothing held. Returns the call's value, or -1 … as 0 with ec.
template <class Call>
size_t fd::transfer(uint8_t side, park_mode mode, asio::error_code& ec, Call call) {
  ec.clear();
  if (!enter(side, mode, ec)) return 0;
  size_t n = 0;
  if (report(pd_->prepare(side), ec)) {
    for (;;) {
      const sys::result r = call(n);
      if (r.ok()) {
        n += static_cast<size_t>(r.value);
        break;
      }
      if (r.error == kMore) {  // call wants to be called again at once: more is left to write
        n += static_cast<size_t>(r.value);
        continue;
      }
      if (r.error != EAGAIN && r.error != EWOULDBLOCK) {
        set(ec, r.error);
        break;
      }
      if (mode == park_mode::never) {
        ec = asio::error::would_block;
        break;
      }
      if (!report(pd_->wait(side), ec)) break;
    }
  }
  leave(side);
  return n;
}

size_t fd::recv(void* data, size_t size, park_mode mode, asio::error_code& ec) {
  const size_t n = transfer(kReadSide, mode, ec, [&](size_t) {
    const sys::result r = sys::recv(sysfd_, data, size, 0);
    drained_ = r.value < static_cast<ssize_t>(size);
    return r;
  });
  if (n == 0 && !ec) ec = asio::error::eof;
  return n;
}

size_t fd::recv(const iovec* v, int count, size_t size, park_mode mode, asio::error_code& ec) {
  const size_t n = transfer(kReadSide, mode, ec, [&](size_t) {
    const sys::result r = sys::readv(sysfd_, v, count);
    drained_ = r.value < static_cast<ssize_t>(size);
    return r;
  });
  if (n == 0 && !ec) ec = asio::error::eof;
  return n;
}

size_t fd::operate(uint8_t side, park_mode mode, sys::result (*call)(int sysfd, void* arg), void* arg, asio::error_code& ec) {
  return transfer(side, mode, ec, [&](size_t) { return call(sysfd_, arg); });
}

size_t fd::read(void* data, size_t size, asio::error_code& ec) {
  const size_t n = transfer(kReadSide, park_mode::once, ec, [&](size_t) { return sys::read(sysfd_, data, size); });
  if (n == 0 && !ec) ec = asio::error::eof;
  return n;
}

size_t fd::send(const void* data, size_t size, park_mode mode, asio::error_code& ec) {
  return transfer(kWriteSide, mode, ec, [&](size_t done) {
    sys::result r = sys::send(sysfd_, static_cast<const char*>(data) + done, size - done);
    if (r.ok() && mode == park_mode::all && done + static_cast<size_t>(r.value) < size) r.error = kMore;
    return r;
  });
}

size_t fd::send(iovec* v, int count, size_t size, park_mode mode, asio::error_code& ec) {
  return transfer(kWriteSide, mode, ec, [&](size_t done) {
    sys::result r = sys::sendv(sysfd_, v, count);
    if (r.ok() && mode == park_mode::all && done + static_cast<size_t>(r.value) < size) {
      size_t sent = static_cast<size_t>(r.value);
      while (sent >= v->iov_len) {
        sent -= v->iov_len;
        ++v;
        --count;
      }
      v->iov_base = static_cast<char*>(v->iov_base) + sent;
      v->iov_len -= sent;
      r.error = kMore;
    }
    return r;
  });
}

size_t fd::receive_message(msghdr* m, park_mode mode, asio::error_code& ec) {
  const socklen_t room = m->msg_namelen;
  return transfer(kReadSide, mode, ec, [&](size_t) {
    m->msg_namelen = room;
    const sys::result r = sys::receive_message(sysfd_, m);
    drained_ = !r.ok();  // a short datagram says nothing about the next one
    return r;
  });
}

void fd::send_message(const msghdr* m, park_mode mode, asio::error_code& ec) {
  transfer(kWriteSide, mode, ec, [&](size_t) { return sys::send_message(sysfd_, m); });
}

// The beginning of a wait: the read lock, and whether there is something to read already. false: ec says why, nothing is held.
bool fd::enter_to_wait(bool& readable, asio::error_code& ec) {
  ec.clear();
  readable = false;
  if (!enter(kReadSide, park_mode::once, ec)) return false;
  if (!drained_ || pd_->ended()) {
    if (!report(pd_->prepare(kReadSide), ec)) {
      leave(kReadSide);
      return false;
    }
    char byte;
    const sys::result r = sys::recv(sysfd_, &byte, 1, MSG_PEEK);
    readable = r.error != EAGAIN && r.error != EWOULDBLOCK;
  }
  return true;
}

bool fd::wait_readable(asio::error_code& ec) {
  bool readable;
  if (!enter_to_wait(readable, ec)) return false;
  if (!readable) readable = report(pd_->wait(kReadSide), ec);
  if (readable) drained_ = false;
  leave(kReadSide);
  return readable;
}

// Nothing is lost between the newborn's start and its next look: the edge that started it stays in the word (nobody is there to take it
// out), and so do flags and deadlines.
bool fd::go_when_readable(void (*fn)(void*), void* arg, asio::error_code& ec) {
  bool readable;
  if (!enter_to_wait(readable, ec)) return false;
  if (!readable) {
    if (!pd_->edge_remembered(kReadSide) && start_when_readable(fn, arg)) return true;  // it may have run by now, and *this may be gone
    readable = report(pd_->wait(kReadSide), ec);
  }
  if (readable) drained_ = false;
  leave(kReadSide);
  return false;
}

// REQUIRES: the read lock, which goes with the newborn.
bool fd::start_when_readable(void (*fn)(void*), void* arg) {
  continuation_ = fn;
  continuation_arg_ = arg;
  detail::newborn* nb;
  try {
    nb = detail::defer_goroutine(static_cast<void*>(this), &resume);
  } catch (const std::bad_alloc&) {  // then the caller waits on its own stack
    return false;
  }
  if (pd_->start_when_ready(kReadSide, nb)) return true;
  detail::drop_deferred(nb);
  return false;
}

void fd::resume(void* self) {
  fd* const f = static_cast<fd*>(self);
  const auto fn = f->continuation_;
  void* const arg = f->continuation_arg_;
  f->leave(kReadSide);
  fn(arg);
}

int fd::accept(asio::error_code& ec) {
  ec.clear();
  if (!enter(kReadSide, park_mode::once, ec)) return -1;
  int accepted = -1;
  if (report(pd_->prepare(kReadSide), ec)) {
    for (;;) {
      const sys::result r = sys::accept(sysfd_);
      if (r.ok()) {
        accepted = static_cast<int>(r.value);
        accept_pause_ = 0;
        break;
      }
      switch (r.error) {
        case EAGAIN:
#if EWOULDBLOCK != EAGAIN
        case EWOULDBLOCK:
#endif
          if (report(pd_->wait(kReadSide), ec)) continue;
          break;
        // The connection, not the listener, has failed: accept(2) hands out its pending network error.
        case ECONNABORTED:
        case EPROTO:
        case ENETDOWN:
        case ENOPROTOOPT:
        case EHOSTDOWN:
#ifdef ENONET
        case ENONET:
#endif
        case EHOSTUNREACH:
        case ENETUNREACH:
        case EPERM:  // a firewall's doing
          continue;
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
          accept_pause_ = accept_pause_ == 0 ? kFirstBackoff : accept_pause_ * 2 < kLongestBackoff ? accept_pause_ * 2 : kLongestBackoff;
          for (int64_t left = accept_pause_; left > 0 && !mutex_.closed(); left -= kBackoffSlice) {
            warren::sleep(std::chrono::nanoseconds(left < kBackoffSlice ? left : kBackoffSlice));
          }
          set(ec, r.error);
          break;
        default: set(ec, r.error); break;
      }
      break;
    }
  }
  leave(kReadSide);
  return accepted;
}

void fd::finish_connect(asio::error_code& ec) {
  ec.clear();
  if (!enter(kWriteSide, park_mode::once, ec)) return;
  for (;;) {
    if (!report(pd_->wait(kWriteSide), ec)) break;
    const sys::result error = sys::get_option(sysfd_, SOL_SOCKET, SO_ERROR);
    if (const int e = error.ok() ? static_cast<int>(error.value) : error.error; e != 0) {
      set(ec, e);
      break;
    }
    // No error: connected, or woken too early. A socket that has a peer is connected.
    sys::socket_address peer;
    if (sys::getpeername(sysfd_, &peer).ok()) break;
  }
  leave(kWriteSide);
}

void fd::set_deadline(int64_t when, uint8_t sides) noexcept {
  if (!mutex_.incref()) return;
  const scheduler::guest run;  // a thread outside may set it while the run of who is parked ends
  pd_->set_deadline(when, sides);
  left(mutex_.decref());
}

// --- closing
// -------------------------------------------------------------------------------------------------------------------------------

void fd::destroy() noexcept {
  const scheduler::guest run;  // the last reference may be a thread's outside
  poller::made().closing(sysfd_);
  sys::close(sysfd_);
  poll_desc::release(pd_);
  const uintptr_t closer = closer_.exchange(kDestroyed, std::memory_order_acq_rel);
  if (closer != 0 && run && run->number() == closer_run_) goready(reinterpret_cast<g*>(closer));
  unref();
}

void fd::unref() noexcept {
  if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

bool fd::commit_close_wait(g* gp, void* self) noexcept {
  uintptr_t none = 0;
  return static_cast<fd*>(self)->closer_.compare_exchange_strong(none, reinterpret_cast<uintptr_t>(gp), std::memory_order_acq_rel);
}

void fd::close(asio::error_code& ec) noexcept {
  if (!mutex_.close()) {
    ec = asio::error::bad_descriptor;
    return;
  }
  ec.clear();
  {
    const scheduler::guest run;  // a thread outside may close while the run of who is parked ends
    const uint8_t abandoned = pd_->evict();
    if ((abandoned & kReadSide) != 0) left(mutex_.unlock(true));
    if ((abandoned & kWriteSide) != 0) left(mutex_.unlock(false));
    left(mutex_.decref());
  }
  closer_run_ = scheduler::run_number();
  if (closer_.load(std::memory_order_acquire) != kDestroyed && getg() != nullptr) gopark(&commit_close_wait, this, wait_reason::other);
}

void fd::release() noexcept {
  asio::error_code ignored;
  close(ignored);
  unref();
}

}  // namespace warren::rt

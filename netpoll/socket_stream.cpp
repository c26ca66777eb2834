// What the connections and listeners on descriptors have in common: handles on rt::fd.
#include "netpoll/fd.h"
#include "netpoll/net_error.h"
#include "netpoll/sys.h"
#include "runtime/os/clock.h"
#include "warren/stream.h"

bool warren::stream::go_when_readable(void (*)(void*), void*, asio::error_code& ec) {
  wait_readable(ec);
  return false;
}

namespace warren::detail {

namespace {

namespace sys = rt::sys;

rt::park_mode park_of(stream::write_mode mode) noexcept {
  switch (mode) {
    case stream::write_mode::attempt: return rt::park_mode::never;
    case stream::write_mode::some: return rt::park_mode::once;
    case stream::write_mode::all: break;
  }
  return rt::park_mode::all;
}

uint8_t sides_of(stream::side which) noexcept {
  switch (which) {
    case stream::side::read: return rt::kReadSide;
    case stream::side::write: return rt::kWriteSide;
    case stream::side::both: break;
  }
  return rt::kReadSide | rt::kWriteSide;
}

void replace(rt::fd*& mine, rt::fd*& theirs) noexcept {
  if (&mine == &theirs) return;
  if (mine != nullptr) mine->release();
  mine = theirs;
  theirs = nullptr;
}

}  // namespace

int64_t deadline_after(std::chrono::nanoseconds d) noexcept {
  if (d == std::chrono::nanoseconds::max()) return 0;
  const int64_t now = rt::nanotime();
  if (d.count() <= 0) return now > 1 ? now - 1 : 1;
  return d.count() > INT64_MAX - now ? 0 : now + d.count();
}

// --- streams
// --------------------------------------------------------------------------------------------------------------------------------

socket_stream& socket_stream::operator=(socket_stream&& from) noexcept {
  replace(fd_, from.fd_);
  return *this;
}

socket_stream::~socket_stream() {
  if (fd_ != nullptr) fd_->release();
}

bool socket_stream::is_open() const noexcept { return fd_ != nullptr && fd_->is_open(); }
socket_stream::native_handle_type socket_stream::native_handle() const noexcept { return fd_ == nullptr ? -1 : fd_->number(); }

size_t socket_stream::read_pieces(const iovec* v, int count, size_t bytes, bool park, asio::error_code& ec) {
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return 0;
  }
  const rt::park_mode mode = park ? rt::park_mode::once : rt::park_mode::never;
  if (count == 1) [[likely]]
    return fd_->recv(v->iov_base, bytes, mode, ec);
  if (count == 0) {
    ec.clear();
    return 0;
  }
  return fd_->recv(v, count, bytes, mode, ec);
}

size_t socket_stream::write_pieces(iovec* v, int count, size_t bytes, write_mode mode, asio::error_code& ec) {
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return 0;
  }
  if (count == 1) [[likely]]
    return fd_->send(v->iov_base, bytes, park_of(mode), ec);
  if (count == 0) {
    ec.clear();
    return 0;
  }
  return fd_->send(v, count, bytes, park_of(mode), ec);
}

bool socket_stream::wait_readable(asio::error_code& ec) {
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return false;
  }
  return fd_->wait_readable(ec);
}

bool socket_stream::go_when_readable(void (*fn)(void*), void* arg, asio::error_code& ec) {
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return false;
  }
  return fd_->go_when_readable(fn, arg, ec);
}

void socket_stream::set_deadline(int64_t ns, side which) {
  if (fd_ != nullptr) fd_->set_deadline(ns, sides_of(which));
}

void socket_stream::shutdown(asio::socket_base::shutdown_type what, asio::error_code& ec) {
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return;
  }
  const int how = what == asio::socket_base::shutdown_receive ? SHUT_RD : what == asio::socket_base::shutdown_send ? SHUT_WR : SHUT_RDWR;
  fd_->with([&](int s) { return sys::shutdown(s, how); }, ec);
}

void socket_stream::close(asio::error_code& ec) noexcept {
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return;
  }
  fd_->close(ec);
}

// --- listeners
// ------------------------------------------------------------------------------------------------------------------------------

socket_listener& socket_listener::operator=(socket_listener&& from) noexcept {
  replace(fd_, from.fd_);
  return *this;
}

socket_listener::~socket_listener() {
  if (fd_ != nullptr) fd_->release();
}

bool socket_listener::is_open() const noexcept { return fd_ != nullptr && fd_->is_open(); }
socket_listener::native_handle_type socket_listener::native_handle() const noexcept { return fd_ == nullptr ? -1 : fd_->number(); }

void socket_listener::set_deadline(int64_t ns) {
  if (fd_ != nullptr) fd_->set_deadline(ns, rt::kReadSide);
}

void socket_listener::close(asio::error_code& ec) noexcept {
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return;
  }
  closing();
  fd_->close(ec);
}

}  // namespace warren::detail

// tcp_conn and tcp_listener: handles on rt::fd, and how they come about.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "netpoll/address.h"
#include "netpoll/fd.h"
#include "netpoll/net_error.h"
#include "netpoll/sys.h"
#include "runtime/os/clock.h"
#include "warren/net.h"

namespace warren {

struct conn_maker {
  static tcp_conn conn(rt::fd* f) noexcept { return tcp_conn(f); }
  static tcp_listener listener(rt::fd* f) noexcept { return tcp_listener(f); }
};

namespace detail {
int64_t deadline_after(std::chrono::nanoseconds d) noexcept {
  if (d == std::chrono::nanoseconds::max()) return 0;
  const int64_t now = rt::nanotime();
  if (d.count() <= 0) return now > 1 ? now - 1 : 1;
  return d.count() > INT64_MAX - now ? 0 : now + d.count();
}
}  // namespace detail

namespace {

namespace sys = rt::sys;

template <class Name>
tcp_endpoint endpoint_of(const rt::fd* f, Name name, asio::error_code& ec) {
  tcp_endpoint e;
  if (f == nullptr) {
    ec = asio::error::bad_descriptor;
    return e;
  }
  sys::socket_address a;
  if (!f->with([&](int s) { return name(s, &a); }, ec).ok()) return e;
  if (a.size <= e.capacity()) {
    memcpy(e.data(), &a.storage, a.size);
    e.resize(a.size);
  }
  return e;
}

[[noreturn]] void throw_with_address(const char* operation, std::string_view address, asio::error_code ec, std::string_view why = {}) {
  throw net_error(ec, rt::net_error_line(operation, address, ec, why));
}

void replace(rt::fd*& mine, rt::fd*& theirs) noexcept {
  if (&mine == &theirs) return;
  if (mine != nullptr) mine->release();
  mine = theirs;
  theirs = nullptr;
}

}  // namespace

// --- tcp_conn
// -------------------------------------------------------------------------------------------------------------------------------

tcp_conn& tcp_conn::operator=(tcp_conn&& from) noexcept {
  replace(fd_, from.fd_);
  return *this;
}

tcp_conn::~tcp_conn() {
  if (fd_ != nullptr) fd_->release();
}

tcp_conn tcp_conn::adopt(native_handle_type socket, asio::error_code& ec) {
  const sys::result r = sys::make_nonblocking(socket);
  if (!r.ok()) {
    rt::fd::set(ec, r.error);
    sys::close(socket);
    return {};
  }
  sys::set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);  // not every stream socket is TCP: those that are not may refuse
  return tcp_conn(rt::fd::open(socket, ec));
}

bool tcp_conn::is_open() const noexcept { return fd_ != nullptr && fd_->is_open(); }
tcp_conn::native_handle_type tcp_conn::native_handle() const noexcept { return fd_ == nullptr ? -1 : fd_->number(); }

size_t tcp_conn::read_one(void* data, size_t size, bool park, asio::error_code& ec) {
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return 0;
  }
  if (size == 0) {
    ec.clear();
    return 0;
  }
  return fd_->recv(data, size, park ? rt::park_mode::once : rt::park_mode::never, ec);
}

size_t tcp_conn::read_pieces(const iovec* v, int count, size_t bytes, bool park, asio::error_code& ec) {
  if (count <= 1) return read_one(count == 0 ? nullptr : v->iov_base, bytes, park, ec);
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return 0;
  }
  return fd_->recv(v, count, bytes, park ? rt::park_mode::once : rt::park_mode::never, ec);
}

namespace {
rt::park_mode park_of(int mode) noexcept { return mode == 0 ? rt::park_mode::never : mode == 1 ? rt::park_mode::once : rt::park_mode::all; }
}  // namespace

size_t tcp_conn::write_one(const void* data, size_t size, write_mode mode, asio::error_code& ec) {
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return 0;
  }
  if (size == 0) {
    ec.clear();
    return 0;
  }
  return fd_->send(data, size, park_of(static_cast<int>(mode)), ec);
}

size_t tcp_conn::write_pieces(iovec* v, int count, size_t bytes, write_mode mode, asio::error_code& ec) {
  if (count <= 1) return write_one(count == 0 ? nullptr : v->iov_base, bytes, mode, ec);
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return 0;
  }
  return fd_->send(v, count, bytes, park_of(static_cast<int>(mode)), ec);
}

bool tcp_conn::wait_readable(asio::error_code& ec) {
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return false;
  }
  return fd_->wait_readable(ec);
}

void tcp_conn::set_deadline(int64_t ns, char mode) {
  if (fd_ == nullptr) return;
  fd_->set_deadline(ns, mode == 'r' ? rt::kReadSide : mode == 'w' ? rt::kWriteSide : rt::kReadSide | rt::kWriteSide);
}

void tcp_conn::shutdown(asio::socket_base::shutdown_type what, asio::error_code& ec) {
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return;
  }
  const int how = what == asio::socket_base::shutdown_receive ? SHUT_RD : what == asio::socket_base::shutdown_send ? SHUT_WR : SHUT_RDWR;
  fd_->with([&](int s) { return sys::shutdown(s, how); }, ec);
}

void tcp_conn::shutdown(asio::socket_base::shutdown_type what) {
  asio::error_code ec;
  shutdown(what, ec);
  if (ec) detail::throw_net_error("shutdown", ec);
}

void tcp_conn::close(asio::error_code& ec) noexcept {
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return;
  }
  fd_->close(ec);
}

tcp_endpoint tcp_conn::local_endpoint(asio::error_code& ec) const { return endpoint_of(fd_, sys::getsockname, ec); }
tcp_endpoint tcp_conn::remote_endpoint(asio::error_code& ec) const { return endpoint_of(fd_, sys::getpeername, ec); }

tcp_endpoint tcp_conn::local_endpoint() const {
  asio::error_code ec;
  tcp_endpoint e = local_endpoint(ec);
  if (ec) detail::throw_net_error("local_endpoint", ec);
  return e;
}

tcp_endpoint tcp_conn::remote_endpoint() const {
  asio::error_code ec;
  tcp_endpoint e = remote_endpoint(ec);
  if (ec) detail::throw_net_error("remote_endpoint", ec);
  return e;
}

void tcp_conn::no_delay(bool on, asio::error_code& ec) {
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return;
  }
  fd_->with([&](int s) { return sys::set_option(s, IPPROTO_TCP, TCP_NODELAY, on ? 1 : 0); }, ec);
}

void tcp_conn::no_delay(bool on) {
  asio::error_code ec;
  no_delay(on, ec);
  if (ec) detail::throw_net_error("no_delay", ec);
}

// --- tcp_listener
// ---------------------------------------------------------------------------------------------------------------------------

tcp_listener& tcp_listener::operator=(tcp_listener&& from) noexcept {
  replace(fd_, from.fd_);
  return *this;
}

tcp_listener::~tcp_listener() {
  if (fd_ != nullptr) fd_->release();
}

bool tcp_listener::is_open() const noexcept { return fd_ != nullptr && fd_->is_open(); }
tcp_listener::native_handle_type tcp_listener::native_handle() const noexcept { return fd_ == nullptr ? -1 : fd_->number(); }

tcp_conn tcp_listener::accept(asio::error_code& ec) {
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return {};
  }
  const int s = fd_->accept(ec);
  if (s < 0) return {};
  return tcp_conn(rt::fd::open(s, ec));  // TCP_NODELAY comes from the listening socket, with the other options
}

tcp_conn tcp_listener::accept() {
  asio::error_code ec;
  tcp_conn c = accept(ec);
  if (ec) detail::throw_net_error("accept", ec);
  return c;
}

void tcp_listener::set_deadline(int64_t ns) {
  if (fd_ != nullptr) fd_->set_deadline(ns, rt::kReadSide);
}

void tcp_listener::close(asio::error_code& ec) noexcept {
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return;
  }
  fd_->close(ec);
}

tcp_endpoint tcp_listener::local_endpoint(asio::error_code& ec) const { return endpoint_of(fd_, sys::getsockname, ec); }

tcp_endpoint tcp_listener::local_endpoint() const {
  asio::error_code ec;
  tcp_endpoint e = local_endpoint(ec);
  if (ec) detail::throw_net_error("local_endpoint", ec);
  return e;
}

// --- listen
// ---------------------------------------------------------------------------------------------------------------------------------

tcp_listener listen(const tcp_endpoint& where, asio::error_code& ec, const listen_options& options) {
  const sys::result s = sys::socket(where.protocol().family(), SOCK_STREAM, IPPROTO_TCP);
  if (!s.ok()) {
    rt::fd::set(ec, s.error);
    return {};
  }
  const int sock = static_cast<int>(s.value);
  sys::result r = sys::set_option(sock, SOL_SOCKET, SO_REUSEADDR, 1);
  if (r.ok() && options.reuse_port) r = sys::set_option(sock, SOL_SOCKET, SO_REUSEPORT, 1);
  if (r.ok() && where.address().is_v6()) r = sys::set_option(sock, IPPROTO_IPV6, IPV6_V6ONLY, where.address().is_unspecified() ? 0 : 1);
  if (r.ok()) r = sys::set_option(sock, IPPROTO_TCP, TCP_NODELAY, 1);  // inherited by what it accepts: saves a system call each
  if (r.ok()) r = sys::bind(sock, where.data(), static_cast<socklen_t>(where.size()));
  if (r.ok()) r = sys::listen(sock, options.backlog);
  if (!r.ok()) {
    rt::fd::set(ec, r.error);
    sys::close(sock);
    return {};
  }
  return conn_maker::listener(rt::fd::open(sock, ec));
}

tcp_listener listen(const tcp_endpoint& where, const listen_options& options) {
  asio::error_code ec;
  tcp_listener l = listen(where, ec, options);
  if (ec) throw_with_address("listen", to_string(where), ec);
  return l;
}

namespace {

// `why` gets the explanation of a text that is no address.
tcp_listener listen_text(std::string_view address, asio::error_code& ec, const listen_options& options, std::string* why) {
  rt::host_port hp;
  ec = asio::error::invalid_argument;
  if (!rt::split_host_port(address, &hp, why)) return {};
  if (hp.host.empty()) {
    tcp_listener l = listen(tcp_endpoint(asio::ip::tcp::v6(), hp.port), ec, options);
    if (ec == asio::error::address_family_not_supported || ec == asio::error_code(EADDRNOTAVAIL, asio::system_category()))
      return listen(tcp_endpoint(asio::ip::tcp::v4(), hp.port), ec, options);  // a machine without IPv6
    return l;
  }
  asio::ip::address a;
  bool is_name = false;
  if (rt::parse_address(hp.host, &a, &is_name, why)) return listen(tcp_endpoint(a, hp.port), ec, options);
  if (!is_name) return {};
  why->clear();
  const std::vector<tcp_endpoint> found = rt::resolve(hp.host, hp.port, true, ec);
  if (ec) return {};
  return listen(found.front(), ec, options);
}

}  // namespace

tcp_listener listen(std::string_view address, asio::error_code& ec, const listen_options& options) {
  std::string ignored;
  return listen_text(address, ec, options, &ignored);
}

tcp_listener listen(std::string_view address, const listen_options& options) {
  asio::error_code ec;
  std::string why;
  tcp_listener l = listen_text(address, ec, options, &why);
  if (ec) throw_with_address("listen", address, ec, why);
  return l;
}

// --- dial
// -----------------------------------------------------------------------------------------------------------------------------------

namespace {

tcp_conn dial_once(const tcp_endpoint& peer, asio::error_code& ec, int64_t deadline, bool* met_itself) {
  *met_itself = false;
  if (deadline != 0 && rt::nanotime() >= deadline) {
    ec = asio::error::timed_out;
    return {};
  }
  const sys::result s = sys::socket(peer.protocol().family(), SOCK_STREAM, IPPROTO_TCP);
  if (!s.ok()) {
    rt::fd::set(ec, s.error);
    return {};
  }
  const int sock = static_cast<int>(s.value);
  sys::set_option(sock, IPPROTO_TCP, TCP_NODELAY, 1);
  const sys::result r = sys::connect(sock, peer.data(), static_cast<socklen_t>(peer.size()));
  if (!r.ok() && r.error != EINPROGRESS) {
    rt::fd::set(ec, r.error);
    sys::close(sock);
    return {};
  }
  // Registered only now: a socket that has not begun to connect reports a hang-up at once.
  rt::fd* f = rt::fd::open(sock, ec);
  if (f == nullptr) return {};
  tcp_conn c = conn_maker::conn(f);
  if (r.error == EINPROGRESS) {
    if (deadline != 0) f->set_deadline(deadline, rt::kWriteSide);
    f->finish_connect(ec);
    if (ec) return {};
    if (deadline != 0) f->set_deadline(0, rt::kWriteSide);
  }
  // TCP's simultaneous open: a dial to a free port of this machine may get that very port as its own and meet itself.
  if (peer.address().is_loopback()) {
    asio::error_code ignored;
    if (c.local_endpoint(ignored) == peer) {
      *met_itself = true;
      ec = asio::error::connection_refused;
      return {};
    }
  }
  return c;
}

}  // namespace

tcp_conn dial(const tcp_endpoint& peer, asio::error_code& ec, const dial_options& options) {
  const int64_t deadline = detail::deadline_ns(options.deadline);
  for (int attempt = 0;; ++attempt) {
    bool met_itself = false;
    tcp_conn c = dial_once(peer, ec, deadline, &met_itself);
    if (!met_itself || attempt == 2) return c;
  }
}

tcp_conn dial(const tcp_endpoint& peer, const dial_options& options) {
  asio::error_code ec;
  tcp_conn c = dial(peer, ec, options);
  if (ec) throw_with_address("dial", to_string(peer), ec);
  return c;
}

namespace {

tcp_conn dial_text(std::string_view address, asio::error_code& ec, const dial_options& options, std::string* why) {
  rt::host_port hp;
  ec = asio::error::invalid_argument;
  if (!rt::split_host_port(address, &hp, why)) return {};
  if (hp.port == 0) {
    *why = "port 0 cannot be dialled; write the port that the server listens on";
    return {};
  }
  if (hp.host.empty()) return dial(tcp_endpoint(asio::ip::address_v4::loopback(), hp.port), ec, options);
  asio::ip::address a;
  bool is_name = false;
  if (rt::parse_address(hp.host, &a, &is_name, why)) return dial(tcp_endpoint(a, hp.port), ec, options);
  if (!is_name) return {};
  why->clear();
  const std::vector<tcp_endpoint> found = rt::resolve(hp.host, hp.port, false, ec);
  if (ec) return {};
  asio::error_code first;
  for (const tcp_endpoint& e : found) {
    tcp_conn c = dial(e, ec, options);
    if (!ec) return c;
    if (!first) first = ec;
  }
  ec = first;
  return {};
}

}  // namespace

tcp_conn dial(std::string_view address, asio::error_code& ec, const dial_options& options) {
  std::string ignored;
  return dial_text(address, ec, options, &ignored);
}

tcp_conn dial(std::string_view address, const dial_options& options) {
  asio::error_code ec;
  std::string why;
  tcp_conn c = dial_text(address, ec, options, &why);
  if (ec) throw_with_address("dial", address, ec, why);
  return c;
}

}  // namespace warren

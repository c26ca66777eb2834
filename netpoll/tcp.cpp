// tcp_conn and tcp_listener, and listening. (dial.cpp connects.)
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "netpoll/address.h"
#include "netpoll/resolver.h"
#include "netpoll/socket.h"
#include "warren/net.h"

namespace warren {

namespace {
namespace sys = rt::sys;
}

// --- tcp_conn
// -------------------------------------------------------------------------------------------------------------------------------

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

tcp_endpoint tcp_conn::local_endpoint(asio::error_code& ec) const { return rt::endpoint_of<tcp_endpoint>(fd_, sys::getsockname, ec); }
tcp_endpoint tcp_conn::remote_endpoint(asio::error_code& ec) const { return rt::endpoint_of<tcp_endpoint>(fd_, sys::getpeername, ec); }

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

std::string tcp_conn::peer_name() const {
  asio::error_code ec;
  const tcp_endpoint e = remote_endpoint(ec);
  return ec ? std::string() : to_string(e);
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

tcp_endpoint tcp_listener::local_endpoint(asio::error_code& ec) const { return rt::endpoint_of<tcp_endpoint>(fd_, sys::getsockname, ec); }

tcp_endpoint tcp_listener::local_endpoint() const {
  asio::error_code ec;
  tcp_endpoint e = local_endpoint(ec);
  if (ec) detail::throw_net_error("local_endpoint", ec);
  return e;
}

std::unique_ptr<stream> tcp_listener::accept_stream(asio::error_code& ec) {
  tcp_conn c = accept(ec);
  return ec ? nullptr : std::make_unique<tcp_conn>(std::move(c));
}

std::string tcp_listener::address() const {
  asio::error_code ec;
  const tcp_endpoint e = local_endpoint(ec);
  return ec ? std::string() : to_string(e);
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
  if (ec) rt::throw_with_address("listen", to_string(where), ec);
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
  const std::vector<tcp_endpoint> found = rt::resolve(hp.host, hp.port, true, 0, {}, ec);
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
  if (ec) rt::throw_with_address("listen", address, ec, why);
  return l;
}

}  // namespace warren

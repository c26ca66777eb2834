// udp_conn: datagrams on rt::fd.
#include "warren/udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "netpoll/address.h"
#include "netpoll/resolver.h"
#include "netpoll/socket.h"

namespace warren {

struct udp_maker {
  static udp_conn conn(rt::fd* f) noexcept { return udp_conn(f); }
};

namespace {

namespace sys = rt::sys;

std::string text_of(const udp_endpoint& e) { return to_string(tcp_endpoint(e.address(), e.port())); }
udp_endpoint udp(const tcp_endpoint& e) { return udp_endpoint(e.address(), e.port()); }

// A socket for the family of `e`; prepare(socket) → sys::result gives it its address.
template <class Prepare>
udp_conn make(const udp_endpoint& e, asio::error_code& ec, Prepare prepare) {
  const sys::result s = sys::socket(e.protocol().family(), SOCK_DGRAM, IPPROTO_UDP);
  if (!s.ok()) {
    rt::fd::set(ec, s.error);
    return {};
  }
  const int sock = static_cast<int>(s.value);
  const sys::result r = prepare(sock);
  if (!r.ok()) {
    rt::fd::set(ec, r.error);
    sys::close(sock);
    return {};
  }
  rt::fd* f = rt::fd::open(sock, ec);
  return f == nullptr ? udp_conn() : udp_maker::conn(f);
}

// The address of a text, for the socket that `any` opens if the host is empty.
bool resolve_text(std::string_view address, bool passive, int64_t deadline, const std::stop_token& stop, std::vector<tcp_endpoint>* out,
                  asio::error_code& ec, std::string* why) {
  rt::host_port hp;
  ec = asio::error::invalid_argument;
  if (!rt::split_host_port(address, &hp, why)) return false;
  if (!passive && hp.port == 0) {
    *why = "port 0 cannot be dialled; write the port that the server receives on";
    return false;
  }
  asio::ip::address a;
  bool is_name = false;
  if (hp.host.empty()) {
    if (passive) {
      out->emplace_back(asio::ip::tcp::v6(), hp.port);
      out->emplace_back(asio::ip::tcp::v4(), hp.port);  // a machine without IPv6
    } else {
      out->emplace_back(asio::ip::address_v4::loopback(), hp.port);
    }
  } else if (rt::parse_address(hp.host, &a, &is_name, why)) {
    out->emplace_back(a, hp.port);
  } else if (!is_name) {
    return false;
  } else {
    why->clear();
    *out = rt::resolve(hp.host, hp.port, passive, deadline, stop, ec);
    return !ec;
  }
  ec.clear();
  return true;
}

udp_conn listen_text(std::string_view address, asio::error_code& ec, const listen_options& options, std::string* why) {
  std::vector<tcp_endpoint> where;
  if (!resolve_text(address, true, 0, {}, &where, ec, why)) return {};
  udp_conn u = listen_packet(udp(where.front()), ec, options);
  if (where.front().address().is_unspecified() && where.size() > 1 &&
      (ec == asio::error::address_family_not_supported || ec == asio::error_code(EADDRNOTAVAIL, asio::system_category())))
    return listen_packet(udp(where[1]), ec, options);
  return u;
}

udp_conn dial_text(std::string_view address, asio::error_code& ec, const dial_options& options, std::string* why) {
  std::vector<tcp_endpoint> peers;
  if (!resolve_text(address, false, rt::deadline_of(options), options.stop, &peers, ec, why)) return {};
  return dial_packet(udp(peers.front()), ec);
}

}  // namespace

udp_conn& udp_conn::operator=(udp_conn&& from) noexcept {
  if (this != &from) {
    if (fd_ != nullptr) fd_->release();
    fd_ = from.fd_;
    from.fd_ = nullptr;
  }
  return *this;
}

udp_conn::~udp_conn() {
  if (fd_ != nullptr) fd_->release();
}

bool udp_conn::is_open() const noexcept { return fd_ != nullptr && fd_->is_open(); }
udp_conn::native_handle_type udp_conn::native_handle() const noexcept { return fd_ == nullptr ? -1 : fd_->number(); }

datagram udp_conn::receive_pieces(const iovec* v, int count, bool park, asio::error_code& ec) {
  datagram d;
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return d;
  }
  sys::socket_address from;
  msghdr m{};
  m.msg_iov = const_cast<iovec*>(v);
  m.msg_iovlen = static_cast<decltype(m.msg_iovlen)>(count);
  m.msg_name = from.get();
  m.msg_namelen = from.size;
  d.bytes = fd_->receive_message(&m, park ? rt::park_mode::once : rt::park_mode::never, ec);
  if (ec) return d;
  d.truncated = (m.msg_flags & MSG_TRUNC) != 0;
  if (m.msg_namelen <= d.from.capacity()) {
    memcpy(d.from.data(), &from.storage, m.msg_namelen);
    d.from.resize(m.msg_namelen);
  }
  return d;
}

void udp_conn::send_pieces(const iovec* v, int count, const udp_endpoint* to, asio::error_code& ec) {
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return;
  }
  msghdr m{};
  m.msg_iov = const_cast<iovec*>(v);
  m.msg_iovlen = static_cast<decltype(m.msg_iovlen)>(count);
  if (to != nullptr) {
    m.msg_name = const_cast<void*>(static_cast<const void*>(to->data()));
    m.msg_namelen = static_cast<socklen_t>(to->size());
  }
  fd_->send_message(&m, rt::park_mode::once, ec);
}

void udp_conn::set_deadline(int64_t ns, stream::side which) {
  if (fd_ == nullptr) return;
  fd_->set_deadline(ns, which == stream::side::read    ? rt::kReadSide
                        : which == stream::side::write ? rt::kWriteSide
                                                       : rt::kReadSide | rt::kWriteSide);
}

void udp_conn::close(asio::error_code& ec) noexcept {
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return;
  }
  fd_->close(ec);
}

udp_endpoint udp_conn::local_endpoint(asio::error_code& ec) const { return rt::endpoint_of<udp_endpoint>(fd_, sys::getsockname, ec); }
udp_endpoint udp_conn::remote_endpoint(asio::error_code& ec) const { return rt::endpoint_of<udp_endpoint>(fd_, sys::getpeername, ec); }

udp_endpoint udp_conn::local_endpoint() const {
  asio::error_code ec;
  udp_endpoint e = local_endpoint(ec);
  if (ec) detail::throw_net_error("local_endpoint", ec);
  return e;
}

udp_endpoint udp_conn::remote_endpoint() const {
  asio::error_code ec;
  udp_endpoint e = remote_endpoint(ec);
  if (ec) detail::throw_net_error("remote_endpoint", ec);
  return e;
}

udp_conn listen_packet(const udp_endpoint& where, asio::error_code& ec, const listen_options& options) {
  return make(where, ec, [&](int sock) {
    sys::result r;
    if (options.reuse_port) r = sys::set_option(sock, SOL_SOCKET, SO_REUSEPORT, 1);
    if (r.ok() && where.address().is_v6()) r = sys::set_option(sock, IPPROTO_IPV6, IPV6_V6ONLY, where.address().is_unspecified() ? 0 : 1);
    if (r.ok()) r = sys::bind(sock, where.data(), static_cast<socklen_t>(where.size()));
    return r;
  });
}

udp_conn listen_packet(const udp_endpoint& where, const listen_options& options) {
  asio::error_code ec;
  udp_conn u = listen_packet(where, ec, options);
  if (ec) rt::throw_with_address("listen", text_of(where), ec);
  return u;
}

udp_conn listen_packet(std::string_view address, asio::error_code& ec, const listen_options& options) {
  std::string ignored;
  return listen_text(address, ec, options, &ignored);
}

udp_conn listen_packet(std::string_view address, const listen_options& options) {
  asio::error_code ec;
  std::string why;
  udp_conn u = listen_text(address, ec, options, &why);
  if (ec) rt::throw_with_address("listen", address, ec, why);
  return u;
}

udp_conn dial_packet(const udp_endpoint& peer, asio::error_code& ec) {
  return make(peer, ec, [&](int sock) { return sys::connect(sock, peer.data(), static_cast<socklen_t>(peer.size())); });
}

udp_conn dial_packet(const udp_endpoint& peer) {
  asio::error_code ec;
  udp_conn u = dial_packet(peer, ec);
  if (ec) rt::throw_with_address("dial", text_of(peer), ec);
  return u;
}

udp_conn dial_packet(std::string_view address, asio::error_code& ec, const dial_options& options) {
  std::string ignored;
  return dial_text(address, ec, options, &ignored);
}

udp_conn dial_packet(std::string_view address, const dial_options& options) {
  asio::error_code ec;
  std::string why;
  udp_conn u = dial_text(address, ec, options, &why);
  if (ec) rt::throw_with_address("dial", address, ec, why);
  return u;
}

}  // namespace warren

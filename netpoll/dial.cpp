// dial: from an address as text, through the resolver, to a connection.
#include <algorithm>

#include "netpoll/address.h"
#include "netpoll/happy_eyeballs.h"
#include "netpoll/resolver.h"
#include "netpoll/socket.h"
#include "warren/net.h"
#include "warren/unix.h"

namespace warren {

namespace rt {
int64_t deadline_of(const dial_options& options) noexcept {
  const int64_t one = detail::deadline_ns(options.deadline);
  const int64_t other = detail::deadline_after(options.timeout);
  return one == 0 ? other : other == 0 ? one : std::min(one, other);
}
}  // namespace rt

namespace {

// `why` gets the explanation of a text that is no address, or all errors when several addresses were tried.
tcp_conn dial_text(std::string_view address, asio::error_code& ec, const dial_options& options, std::string* why) {
  rt::host_port hp;
  ec = asio::error::invalid_argument;
  if (!rt::split_host_port(address, &hp, why)) return {};
  if (hp.port == 0) {
    *why = "port 0 cannot be dialled; write the port that the server listens on";
    return {};
  }
  const int64_t deadline = rt::deadline_of(options);
  std::vector<tcp_endpoint> peers;
  asio::ip::address a;
  bool is_name = false;
  if (hp.host.empty()) {
    peers.emplace_back(asio::ip::address_v4::loopback(), hp.port);
  } else if (rt::parse_address(hp.host, &a, &is_name, why)) {
    peers.emplace_back(a, hp.port);
  } else if (!is_name) {
    return {};
  } else {
    why->clear();
    peers = rt::interleave(rt::resolve(hp.host, hp.port, false, deadline, options.stop, ec));
    if (ec) return {};
  }
  return rt::connect_first(peers, deadline, options.attempt_delay.count(), options.stop, ec, why);
}

}  // namespace

tcp_conn dial(const std::vector<tcp_endpoint>& peers, asio::error_code& ec, const dial_options& options) {
  std::string ignored;
  return rt::connect_first(rt::interleave(peers), rt::deadline_of(options), options.attempt_delay.count(), options.stop, ec, &ignored);
}

tcp_conn dial(const std::vector<tcp_endpoint>& peers, const dial_options& options) {
  asio::error_code ec;
  std::string why;
  tcp_conn c = rt::connect_first(rt::interleave(peers), rt::deadline_of(options), options.attempt_delay.count(), options.stop, ec, &why);
  if (ec) rt::throw_with_address("dial", peers.size() == 1 ? to_string(peers.front()) : std::string(), ec, why);
  return c;
}

tcp_conn dial(const tcp_endpoint& peer, asio::error_code& ec, const dial_options& options) {
  return dial(std::vector<tcp_endpoint>{peer}, ec, options);
}

tcp_conn dial(const tcp_endpoint& peer, const dial_options& options) { return dial(std::vector<tcp_endpoint>{peer}, options); }

tcp_conn dial(std::string_view address, asio::error_code& ec, const dial_options& options) {
  std::string ignored;
  return dial_text(address, ec, options, &ignored);
}

tcp_conn dial(std::string_view address, const dial_options& options) {
  asio::error_code ec;
  std::string why;
  tcp_conn c = dial_text(address, ec, options, &why);
  if (ec) rt::throw_with_address("dial", address, ec, why);
  return c;
}

// --- whatever the address says
// --------------------------------------------------------------------------------------------------------------

namespace {

constexpr std::string_view kUnix = "unix:";

template <class T, class... A>
std::unique_ptr<T> on_heap(const asio::error_code& ec, A&&... a) {
  return ec ? nullptr : std::make_unique<T>(std::forward<A>(a)...);
}

}  // namespace

std::unique_ptr<stream_listener> listen_stream(std::string_view address, asio::error_code& ec) {
  if (address.starts_with(kUnix)) {
    unix_listener l = listen_unix(address.substr(kUnix.size()), ec);
    return on_heap<unix_listener>(ec, std::move(l));
  }
  tcp_listener l = listen(address, ec);
  return on_heap<tcp_listener>(ec, std::move(l));
}

std::unique_ptr<stream_listener> listen_stream(std::string_view address) {
  if (address.starts_with(kUnix)) return std::make_unique<unix_listener>(listen_unix(address.substr(kUnix.size())));
  return std::make_unique<tcp_listener>(listen(address));
}

std::unique_ptr<stream> dial_stream(std::string_view address, asio::error_code& ec, const dial_options& options) {
  if (address.starts_with(kUnix)) {
    unix_conn c = dial_unix(address.substr(kUnix.size()), ec, options);
    return on_heap<unix_conn>(ec, std::move(c));
  }
  tcp_conn c = dial(address, ec, options);
  return on_heap<tcp_conn>(ec, std::move(c));
}

std::unique_ptr<stream> dial_stream(std::string_view address, const dial_options& options) {
  if (address.starts_with(kUnix)) return std::make_unique<unix_conn>(dial_unix(address.substr(kUnix.size()), options));
  return std::make_unique<tcp_conn>(dial(address, options));
}

}  // namespace warren

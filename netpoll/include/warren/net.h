// TCP for goroutines: listen, dial, read, write, deadlines. What waits parks the goroutine, never the thread.
//
// The vocabulary is Asio's: endpoints, buffer sequences, error codes, and two overloads of each operation, one that throws and one that
// fills an asio::error_code. A tcp_conn is a warren::stream (<warren/stream.h> has reading, writing, deadlines, closing, the errors and the
// rules of sharing), so asio::read, asio::read_until, asio::write and whatever is built on them work on it. No io_context is involved.
//
//   warren::tcp_listener l = warren::listen("127.0.0.1:0");
//   for (;;) warren::go([c = l.accept()]() mutable {
//     char b[4096];
//     asio::error_code ec;
//     while (size_t n = c.read_some(asio::buffer(b), ec)) asio::write(c, asio::buffer(b, n));
//   });
#pragma once

#ifndef ASIO_STANDALONE
#define ASIO_STANDALONE 1
#endif

#include <asio/any_io_executor.hpp>
#include <asio/error.hpp>
#include <asio/ip/tcp.hpp>
#include <chrono>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "warren/stream.h"

namespace warren {

using tcp_endpoint = asio::ip::tcp::endpoint;

// One end of a TCP connection. Move-only; the destructor closes. TCP_NODELAY is on.
// Holds no buffer: a parked connection costs its descriptor and its goroutine.
class tcp_conn final : public detail::socket_stream {
 public:
  using protocol_type = asio::ip::tcp;
  using endpoint_type = tcp_endpoint;

  tcp_conn() noexcept = default;  // not open
  tcp_conn(tcp_conn&& from) noexcept = default;
  tcp_conn& operator=(tcp_conn&& from) noexcept = default;

  // Takes over a connected stream socket that nobody else uses: makes it non-blocking and close-on-exec and registers it.
  // Closes it if that fails.
  static tcp_conn adopt(native_handle_type socket, asio::error_code& ec);

  tcp_endpoint local_endpoint(asio::error_code& ec) const;
  tcp_endpoint local_endpoint() const;
  tcp_endpoint remote_endpoint(asio::error_code& ec) const;
  tcp_endpoint remote_endpoint() const;
  std::string peer_name() const override;
  void no_delay(bool on, asio::error_code& ec);
  void no_delay(bool on);

  // For asio::ssl::stream<tcp_conn>, which asks its lowest layer for an executor to make timers on. It never waits for them in
  // synchronous operations, which are the ones for goroutines; see <warren/asio.h>.
  using lowest_layer_type = tcp_conn;
  using executor_type = asio::any_io_executor;
  lowest_layer_type& lowest_layer() noexcept { return *this; }
  const lowest_layer_type& lowest_layer() const noexcept { return *this; }
  executor_type get_executor() const;

 private:
  friend class tcp_listener;
  friend struct conn_maker;
  explicit tcp_conn(rt::fd* f) noexcept : socket_stream(f) {}
};

// A listening socket.
class tcp_listener final : public detail::socket_listener {
 public:
  tcp_listener() noexcept = default;
  tcp_listener(tcp_listener&& from) noexcept = default;
  tcp_listener& operator=(tcp_listener&& from) noexcept = default;

  // Parks until a connection comes. The connection is non-blocking, close-on-exec, TCP_NODELAY.
  // Connections that died in the queue are skipped. When the process or the machine has no descriptor left, accept first
  // parks 5 ms, twice as long each time in a row up to 1 s (less if closed meanwhile), and then gives no_descriptors or
  // ENFILE: a loop that logs the error and accepts again neither spins nor loses the connection, which stays in the kernel's queue.
  tcp_conn accept(asio::error_code& ec);
  tcp_conn accept();

  using stream_listener::accept_stream;
  std::unique_ptr<stream> accept_stream(asio::error_code& ec) override;

  tcp_endpoint local_endpoint(asio::error_code& ec) const;  // with the real port when 0 was asked for
  tcp_endpoint local_endpoint() const;
  std::string address() const override;

 private:
  friend struct conn_maker;
  explicit tcp_listener(rt::fd* f) noexcept : socket_listener(f) {}
};

struct listen_options {
  int backlog = 4096;       // the kernel cuts it to net.core.somaxconn
  bool reuse_port = false;  // SO_REUSEPORT: several listeners share the port
};

// Listens. SO_REUSEADDR is set, so a restart need not wait for old connections. Port 0 takes a free one.
// Text forms: "127.0.0.1:8080", "[::1]:8080", ":8080" (every address, IPv4 and IPv6), "name:8080" (its first address).
// Never parks, but for the lookup of a name (in warren::blocking).
tcp_listener listen(const tcp_endpoint& where, asio::error_code& ec, const listen_options& options = {});
tcp_listener listen(const tcp_endpoint& where, const listen_options& options = {});
tcp_listener listen(std::string_view address, asio::error_code& ec, const listen_options& options = {});
tcp_listener listen(std::string_view address, const listen_options& options = {});

struct dial_options {
  // Two ways to say until when, for the lookup and all addresses together; the earlier one counts. Then: timed_out.
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max();
  // Cancels the dial, from any thread: operation_aborted. Looked at also before anything is tried.
  std::stop_token stop;
  // How long an address of a name may keep the next one waiting (RFC 8305, "Connection Attempt Delay"; at least 10 ms).
  std::chrono::nanoseconds attempt_delay = std::chrono::milliseconds(250);
};

// Connects; parks until the peer answers. Text forms as for listen, with a port other than 0. Numeric addresses ask no resolver.
//
// A name is looked up by the system's resolver on a thread of its own (netpoll/resolver.h: at most 16 at a time, the rest wait in line);
// when the deadline passes or the dial is stopped, the lookup is left to itself. Its addresses are tried by RFC 8305, "happy eyeballs":
// IPv6 and IPv4 in turn, beginning with the family that the resolver named first; the next one starts when the previous one has failed or
// after attempt_delay; the first to connect wins and the others are closed. If all fail, the code is that of the first address, and
// the line of the throwing overload names every address with its error.
tcp_conn dial(const tcp_endpoint& peer, asio::error_code& ec, const dial_options& options = {});
tcp_conn dial(const tcp_endpoint& peer, const dial_options& options = {});
tcp_conn dial(std::string_view address, asio::error_code& ec, const dial_options& options = {});
tcp_conn dial(std::string_view address, const dial_options& options = {});

// Over addresses known already, tried as those of a name are. REQUIRES: not empty.
tcp_conn dial(const std::vector<tcp_endpoint>& peers, asio::error_code& ec, const dial_options& options = {});
tcp_conn dial(const std::vector<tcp_endpoint>& peers, const dial_options& options = {});

// "unix:/run/x.sock" and "unix:@name" (<warren/unix.h>), everything else as listen and dial take it.
std::unique_ptr<stream_listener> listen_stream(std::string_view address, asio::error_code& ec);
std::unique_ptr<stream_listener> listen_stream(std::string_view address);
std::unique_ptr<stream> dial_stream(std::string_view address, asio::error_code& ec, const dial_options& options = {});
std::unique_ptr<stream> dial_stream(std::string_view address, const dial_options& options = {});

// "127.0.0.1:8080", "[::1]:8080", ":8080" without asking a resolver: invalid_argument with an explanation in *why (when not null) if the
// text is not of that form.
tcp_endpoint parse_endpoint(std::string_view address, asio::error_code& ec, std::string* why = nullptr);
std::string to_string(const tcp_endpoint& e);

}  // namespace warren

// TLS for goroutines: tls_conn, a stream over another stream. Library warren::netpoll_tls (it brings OpenSSL; the rest of netpoll does
// not).
//
// Certificates, keys, protocol versions, verification and ALPN are set on Asio's asio::ssl::context, as its users know it:
//
//   asio::ssl::context ctx(asio::ssl::context::tls_server);
//   ctx.use_certificate_chain_file("server.pem");
//   ctx.use_private_key_file("server.key", asio::ssl::context::pem);
//   warren::tls_conn c(listener.accept(), ctx);
//   c.deadline(std::chrono::seconds(10));
//   c.handshake(warren::tls_conn::server);     // parks
//   c.deadline(std::chrono::nanoseconds::max());
//   … read_some, write, asio::read_until, as on a tcp_conn …
//
// Why not asio::ssl::stream<tcp_conn>? It works, and parks; but it must not be read by one goroutine while another writes. A
// tls_conn may: reading, writing, closing and deadlines follow the rules of <warren/stream.h>.
//
// Errors, beside those of a stream:
//   asio::ssl::error::stream_truncated   the peer's bytes ended without TLS's own end: it vanished, or somebody cut the connection
//   asio::error::get_ssl_category()      what OpenSSL says: no common cipher, certificate verify failed …; the connection is of no use then
// A deadline that passes leaves the connection intact, also in the midst of a handshake. Bytes that a write has accepted are sent before
// those of the next one, even if the deadline of that write passed.
//
// The carrier may be any stream, another tls_conn too (TLS over TLS, as through an HTTPS proxy). A socket costs least: other carriers'
// bytes are copied once more.
//
// Memory: about 10 KiB of OpenSSL's while idle (SSL_MODE_RELEASE_BUFFERS), two records' more in use. Stack: a handshake with RSA or
// P-256 certificates fits a goroutine's normal stack.
#pragma once

#include <asio/ssl/context.hpp>
#include <asio/ssl/error.hpp>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "warren/stream.h"

namespace warren {

class tls_conn final : public stream {
 public:
  enum role : uint8_t { client, server };

  tls_conn() noexcept;  // not open
  // Takes over a connected stream. The context may be changed or destroyed afterwards: OpenSSL counts its references.
  // Throws net_error if OpenSSL refuses (no memory).
  tls_conn(std::unique_ptr<stream> carrier, asio::ssl::context& context);
  template <class Stream>
  requires(std::is_base_of_v<stream, std::remove_cvref_t<Stream>>) tls_conn(Stream&& carrier, asio::ssl::context& context)
      : tls_conn(std::unique_ptr<stream>(std::make_unique<std::remove_cvref_t<Stream>>(std::forward<Stream>(carrier))), context) {}
  tls_conn(tls_conn&&) noexcept;
  tls_conn& operator=(tls_conn&&) noexcept;
  ~tls_conn() override;  // closes

  // Client, before the handshake: sends the name (SNI) and, when the context verifies the peer, requires the certificate to be for it.
  void host_name(const std::string& name);

  // Parks until both sides agree. Once per connection, before anything else; after timed_out it may be called again and goes on.
  // Both of the connection's deadlines apply.
  void handshake(role r, asio::error_code& ec);
  void handshake(role r);

  // After the handshake. What ALPN chose ("h2"), empty if nothing; "TLSv1.3"; the cipher's name.
  std::string alpn() const;
  std::string protocol() const;
  std::string cipher() const;

  using stream::close;
  using stream::shutdown;
  using stream::wait_readable;
  bool is_open() const noexcept override;
  // true also when bytes of an unfinished record came: try_read_some gives would_block then.
  bool wait_readable(asio::error_code& ec) override;
  bool go_when_readable(void (*fn)(void* arg), void* arg, asio::error_code& ec) override;
  // shutdown_send: sends close_notify, the peer reads eof; this side may read on. shutdown_both: the carrier's too, at once.
  void shutdown(asio::socket_base::shutdown_type what, asio::error_code& ec) override;
  // Sends close_notify if that is possible without waiting, then closes the carrier, and on a goroutine waits until the one has left that
  // sends what a try_… left over: no use of the carrier is under way afterwards that is not the caller's own. A carrier may call this from
  // within its own write: then that one leaves after the write has returned.
  void close(asio::error_code& ec) noexcept override;
  std::string peer_name() const override;

  // OpenSSL's SSL*, for what is not wrapped here (peer certificate, session). nullptr when not open. Do not read or write through it, and
  // use it only while no other goroutine uses the connection.
  void* native_handle() const noexcept;

 protected:
  size_t read_pieces(const iovec* v, int count, size_t bytes, bool park, asio::error_code& ec) override;
  size_t write_pieces(iovec* v, int count, size_t bytes, write_mode mode, asio::error_code& ec) override;
  void set_deadline(int64_t ns, side which) override;

 private:
  struct state;
  std::shared_ptr<state> state_;
};

// What ALPN shall choose. Server: the first of `ours` that the client offers; none in common: the handshake fails (RFC 7301) if `required`,
// else goes on without. Client: what is offered, in order of preference. Names as in RFC 7301, without length bytes. Replaces what was set.
void alpn_server(asio::ssl::context& context, const std::vector<std::string>& ours, bool required = false);
void alpn_client(asio::ssl::context& context, const std::vector<std::string>& offered);

}  // namespace warren

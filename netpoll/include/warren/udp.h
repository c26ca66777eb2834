// UDP for goroutines: one datagram in, one datagram out; what waits parks the goroutine.
//
//   warren::udp_conn u = warren::listen_packet("127.0.0.1:0");
//   char b[2048];
//   warren::datagram d = u.receive_from(asio::buffer(b));     // d.bytes, d.from, d.truncated
//   u.send_to(asio::buffer(b, d.bytes), d.from);
//
// Errors as those of a stream, without eof: an empty datagram is a datagram of no bytes. Sending more than a datagram can hold
// (65 507 bytes over IPv4) is message_size. On a connected socket connection_refused means that an earlier datagram found no
// receiver; later ones may.
// The rules of sharing are a stream's: one receives, one sends, a third closes and sets deadlines.
#pragma once

#include <asio/ip/udp.hpp>
#include <cstddef>
#include <string>
#include <string_view>

#include "warren/net.h"

namespace warren {

using udp_endpoint = asio::ip::udp::endpoint;

struct datagram {
  size_t bytes = 0;        // how many are in the buffers
  udp_endpoint from;       // its sender
  bool truncated = false;  // it was longer than the buffers; the rest is lost
};

class udp_conn {
 public:
  using native_handle_type = int;
  using clock = std::chrono::steady_clock;

  udp_conn() noexcept = default;  // not open
  udp_conn(udp_conn&& from) noexcept : fd_(from.fd_) { from.fd_ = nullptr; }
  udp_conn& operator=(udp_conn&& from) noexcept;
  ~udp_conn();  // closes

  bool is_open() const noexcept;

  // Receives one datagram; parks until one comes. At most 64 buffers. try_receive_from gives would_block instead of parking.
  template <class MutableBufferSequence>
  datagram receive_from(const MutableBufferSequence& buffers, asio::error_code& ec) {
    return receive_sequence(buffers, true, ec);
  }
  template <class MutableBufferSequence>
  datagram receive_from(const MutableBufferSequence& buffers) {
    asio::error_code ec;
    datagram d = receive_sequence(buffers, true, ec);
    if (ec) detail::throw_net_error("receive", ec);
    return d;
  }
  template <class MutableBufferSequence>
  datagram try_receive_from(const MutableBufferSequence& buffers, asio::error_code& ec) {
    return receive_sequence(buffers, false, ec);
  }

  // Sends one datagram, whole or not at all; parks while the socket's buffer is full. At most 64 non-empty buffers: more are
  // message_size. send: to the peer of a connected socket.
  template <class ConstBufferSequence>
  void send_to(const ConstBufferSequence& buffers, const udp_endpoint& to, asio::error_code& ec) {
    send_sequence(buffers, &to, ec);
  }
  template <class ConstBufferSequence>
  void send_to(const ConstBufferSequence& buffers, const udp_endpoint& to) {
    asio::error_code ec;
    send_sequence(buffers, &to, ec);
    if (ec) detail::throw_net_error("send", ec);
  }
  template <class ConstBufferSequence>
  void send(const ConstBufferSequence& buffers, asio::error_code& ec) {
    send_sequence(buffers, nullptr, ec);
  }
  template <class ConstBufferSequence>
  void send(const ConstBufferSequence& buffers) {
    asio::error_code ec;
    send_sequence(buffers, nullptr, ec);
    if (ec) detail::throw_net_error("send", ec);
  }

  // As a stream's.
  void read_deadline(clock::time_point t) { set_deadline(detail::deadline_ns(t), stream::side::read); }
  void write_deadline(clock::time_point t) { set_deadline(detail::deadline_ns(t), stream::side::write); }
  void deadline(clock::time_point t) { set_deadline(detail::deadline_ns(t), stream::side::both); }
  void read_deadline(std::chrono::nanoseconds d) { set_deadline(detail::deadline_after(d), stream::side::read); }
  void write_deadline(std::chrono::nanoseconds d) { set_deadline(detail::deadline_after(d), stream::side::write); }
  void deadline(std::chrono::nanoseconds d) { set_deadline(detail::deadline_after(d), stream::side::both); }

  void close(asio::error_code& ec) noexcept;
  void close() noexcept {
    asio::error_code ignored;
    close(ignored);
  }

  udp_endpoint local_endpoint(asio::error_code& ec) const;
  udp_endpoint local_endpoint() const;
  udp_endpoint remote_endpoint(asio::error_code& ec) const;  // of a connected socket
  udp_endpoint remote_endpoint() const;
  native_handle_type native_handle() const noexcept;

 private:
  friend struct udp_maker;
  explicit udp_conn(rt::fd* f) noexcept : fd_(f) {}

  datagram receive_pieces(const iovec* v, int count, bool park, asio::error_code& ec);
  void send_pieces(const iovec* v, int count, const udp_endpoint* to, asio::error_code& ec);
  void set_deadline(int64_t ns, stream::side which);

  template <class Sequence>
  datagram receive_sequence(const Sequence& buffers, bool park, asio::error_code& ec) {
    detail::io_pieces p;
    detail::gather<asio::mutable_buffer>(p, buffers);
    return receive_pieces(p.piece, p.count, park, ec);
  }
  template <class Sequence>
  void send_sequence(const Sequence& buffers, const udp_endpoint* to, asio::error_code& ec) {
    detail::io_pieces p;
    auto end = asio::buffer_sequence_end(buffers);
    for (auto it = asio::buffer_sequence_begin(buffers); it != end; ++it) {
      const asio::const_buffer b(*it);
      if (!p.add(b.data(), b.size())) {
        ec = asio::error::message_size;
        return;
      }
    }
    send_pieces(p.piece, p.count, to, ec);
  }

  rt::fd* fd_ = nullptr;
};

// A socket that receives from and sends to anybody. Text forms as for listen: "127.0.0.1:0", "[::1]:5353", ":53", "name:53".
udp_conn listen_packet(const udp_endpoint& where, asio::error_code& ec, const listen_options& options = {});
udp_conn listen_packet(const udp_endpoint& where, const listen_options& options = {});
udp_conn listen_packet(std::string_view address, asio::error_code& ec, const listen_options& options = {});
udp_conn listen_packet(std::string_view address, const listen_options& options = {});

// A connected socket: send() goes to the peer, and only its datagrams are received. A name gives its first address. Parks for the
// lookup of a name only.
udp_conn dial_packet(const udp_endpoint& peer, asio::error_code& ec);
udp_conn dial_packet(const udp_endpoint& peer);
udp_conn dial_packet(std::string_view address, asio::error_code& ec, const dial_options& options = {});
udp_conn dial_packet(std::string_view address, const dial_options& options = {});

}  // namespace warren

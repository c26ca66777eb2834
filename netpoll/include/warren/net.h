// TCP for goroutines: listen, dial, read, write, deadlines. What waits parks the goroutine, never the thread.
//
// The vocabulary is Asio's: endpoints, buffer sequences, error codes, and two overloads of each operation, one that throws and one that
// fills an asio::error_code. tcp_conn meets Asio's SyncReadStream and SyncWriteStream, so asio::read, asio::read_until, asio::write
// and whatever is built on them work on it. No io_context is involved.
//
//   warren::tcp_listener l = warren::listen("127.0.0.1:0");
//   for (;;) warren::go([c = l.accept()]() mutable {
//     char b[4096];
//     asio::error_code ec;
//     while (size_t n = c.read_some(asio::buffer(b), ec)) asio::write(c, asio::buffer(b, n));
//   });
//
// Errors (std::error_code in asio::error's and the system's categories; errno is never set or read by a caller):
//   asio::error::eof                the peer finished its side (read only)
//   asio::error::timed_out          a deadline passed. The connection is intact: set a later deadline and go on.
//   asio::error::operation_aborted  the descriptor was closed while the goroutine was parked on it
//   asio::error::bad_descriptor     the operation began after close(), or on an object that was never open
//   asio::error::would_block        try_… only: nothing could be done without parking
//   anything else                   what the system call said: connection_reset, connection_refused, address_in_use, fault …
// The throwing overloads throw warren::net_error, a std::system_error whose what() is one line: cause, value, remedy.
//
// Threads and goroutines: one tcp_conn may be read by one goroutine while another writes, and closed, shut down or given deadlines by a
// third. Several readers (or several writers) at once are safe and take turns in the order they came. Moving from, moving to and
// destroying an object must not coincide with any other use of it. Operations that may park are called on a goroutine; close() and the
// destructor may be called on any thread.
#pragma once

#ifndef ASIO_STANDALONE
#define ASIO_STANDALONE 1
#endif

#include <sys/uio.h>

#include <asio/buffer.hpp>
#include <asio/error.hpp>
#include <asio/ip/tcp.hpp>
#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

namespace warren {

namespace rt {
class fd;
}

using tcp_endpoint = asio::ip::tcp::endpoint;

// What the throwing overloads throw. code() is what the other overload would have given; what() is the whole line, for example
// "listen 127.0.0.1:80: address already in use; stop the other process or choose another port".
class net_error : public std::system_error {
 public:
  net_error(asio::error_code ec, const std::string& line) : std::system_error(ec), line_(line) {}
  const char* what() const noexcept override { return line_.what(); }

 private:
  std::runtime_error line_;  // a string whose copy cannot throw
};

namespace detail {
// Most pieces one system call takes; a longer sequence is cut there (read_some, write_some) or sent in several calls (write).
inline constexpr int kMaxPieces = 64;

struct io_pieces {
  iovec piece[kMaxPieces];
  int count = 0;
  size_t bytes = 0;

  // Returns false when the table is full and b was not taken. Empty buffers take no place.
  bool add(const void* data, size_t size) noexcept {
    if (size == 0) return true;
    if (count == kMaxPieces) return false;
    piece[count++] = iovec{const_cast<void*>(data), size};
    bytes += size;
    return true;
  }
};

template <class Buffer, class Sequence>
void gather(io_pieces& out, const Sequence& buffers) noexcept {
  auto end = asio::buffer_sequence_end(buffers);
  for (auto it = asio::buffer_sequence_begin(buffers); it != end; ++it) {
    const Buffer b(*it);
    if (!out.add(b.data(), b.size())) return;
  }
}

[[noreturn]] void throw_net_error(const char* operation, asio::error_code ec);

// steady_clock is CLOCK_MONOTONIC, the runtime's clock. 0 stands for "no deadline"; instants before the clock's start become 1.
inline int64_t deadline_ns(std::chrono::steady_clock::time_point t) noexcept {
  if (t == std::chrono::steady_clock::time_point::max()) return 0;
  const int64_t ns = std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count();
  return ns > 0 ? ns : 1;
}
int64_t deadline_after(std::chrono::nanoseconds d) noexcept;  // now + d, saturating; nanoseconds::max() is "no deadline"
}  // namespace detail

// One end of a TCP connection. Move-only; the destructor closes. TCP_NODELAY is on.
// Holds no buffer: a parked connection costs its descriptor and its goroutine.
class tcp_conn {
 public:
  using native_handle_type = int;
  using protocol_type = asio::ip::tcp;
  using endpoint_type = tcp_endpoint;
  using clock = std::chrono::steady_clock;

  tcp_conn() noexcept = default;  // not open
  tcp_conn(tcp_conn&& from) noexcept : fd_(from.fd_) { from.fd_ = nullptr; }
  tcp_conn& operator=(tcp_conn&& from) noexcept;
  ~tcp_conn();

  // Takes over a connected stream socket that nobody else uses: makes it non-blocking and close-on-exec and registers it.
  // Closes it if that fails.
  static tcp_conn adopt(native_handle_type socket, asio::error_code& ec);

  bool is_open() const noexcept;  // false after close() began

  // --- reading ---------------------------------------------------------------------------------------------------------------------
  // Reads at least one byte; parks until there is one. Returns how many; 0 with ec set, or with ec clear if the buffers were empty.
  // Costs one system call when data is there. At most 64 buffers are filled per call (readv).
  template <class MutableBufferSequence>
  size_t read_some(const MutableBufferSequence& buffers, asio::error_code& ec) {
    return read_sequence(buffers, true, ec);
  }
  template <class MutableBufferSequence>
  size_t read_some(const MutableBufferSequence& buffers) {
    asio::error_code ec;
    const size_t n = read_sequence(buffers, true, ec);
    if (ec) detail::throw_net_error("read", ec);
    return n;
  }

  // As read_some, but gives would_block instead of parking. (Another reader at work also gives would_block.)
  template <class MutableBufferSequence>
  size_t try_read_some(const MutableBufferSequence& buffers, asio::error_code& ec) {
    return read_sequence(buffers, false, ec);
  }

  // Parks until a read would return something: data, the end of the stream, or an error of the connection. No buffer is needed meanwhile.
  // Returns true, or false with ec set (timed_out, operation_aborted, bad_descriptor). Makes no system call, but for one peek when
  // the last read filled its buffer to the last byte. May return true when a try_read_some then gives would_block; so the loop of a
  // connection that lends its buffer only while there is data is:
  //   while (c.wait_readable(ec)) { borrow; n = c.try_read_some(b, ec); if (ec == would_block) { give back; continue; } … }
  bool wait_readable(asio::error_code& ec);
  void wait_readable() {
    asio::error_code ec;
    if (!wait_readable(ec)) detail::throw_net_error("wait_readable", ec);
  }

  // --- writing ---------------------------------------------------------------------------------------------------------------------
  // Writes at least one byte; parks while the socket's buffer is full. Returns how many, as read_some does. One system call when
  // there is room. At most 64 buffers are taken per call. A peer that is gone is an error, never SIGPIPE.
  template <class ConstBufferSequence>
  size_t write_some(const ConstBufferSequence& buffers, asio::error_code& ec) {
    return write_sequence(buffers, write_mode::some, ec);
  }
  template <class ConstBufferSequence>
  size_t write_some(const ConstBufferSequence& buffers) {
    asio::error_code ec;
    const size_t n = write_sequence(buffers, write_mode::some, ec);
    if (ec) detail::throw_net_error("write", ec);
    return n;
  }

  // As write_some, but gives would_block instead of parking.
  template <class ConstBufferSequence>
  size_t try_write_some(const ConstBufferSequence& buffers, asio::error_code& ec) {
    return write_sequence(buffers, write_mode::attempt, ec);
  }

  // Writes everything. For up to 64 non-empty buffers no byte of another writer comes in between (asio::write gives no such promise).
  // Returns how many were written: all, or fewer with ec set.
  template <class ConstBufferSequence>
  size_t write(const ConstBufferSequence& buffers, asio::error_code& ec) {
    return write_sequence(buffers, write_mode::all, ec);
  }
  template <class ConstBufferSequence>
  size_t write(const ConstBufferSequence& buffers) {
    asio::error_code ec;
    const size_t n = write_sequence(buffers, write_mode::all, ec);
    if (ec) detail::throw_net_error("write", ec);
    return n;
  }

  // --- deadlines ------------------------------------------------------------------------------------------------------------------
  // An operation that would park, or is parked, at the deadline fails with timed_out; so does one that begins after it, without trying.
  // A deadline stays until it is set anew; clock::time_point::max() removes it. Setting one moves it for whoever is parked now.
  // Never park. Do nothing on a closed connection.
  void read_deadline(clock::time_point t) { set_deadline(detail::deadline_ns(t), 'r'); }
  void write_deadline(clock::time_point t) { set_deadline(detail::deadline_ns(t), 'w'); }
  void deadline(clock::time_point t) { set_deadline(detail::deadline_ns(t), 'b'); }  // both
  // The same, counted from now; d ≤ 0 is a deadline that has passed.
  void read_deadline(std::chrono::nanoseconds d) { set_deadline(detail::deadline_after(d), 'r'); }
  void write_deadline(std::chrono::nanoseconds d) { set_deadline(detail::deadline_after(d), 'w'); }
  void deadline(std::chrono::nanoseconds d) { set_deadline(detail::deadline_after(d), 'b'); }

  // --- the end ----------------------------------------------------------------------------------------------------------------------
  // shutdown_send: the peer reads to the end, then eof; this side may go on reading. shutdown_receive: a local reader gets eof.
  void shutdown(asio::socket_base::shutdown_type what, asio::error_code& ec);
  void shutdown(asio::socket_base::shutdown_type what);

  // Closes. Goroutines parked on the connection wake with operation_aborted, later operations get bad_descriptor. Returns once the
  // descriptor is closed, for which it may park a moment while they leave (on a foreign thread it does not wait: the last one to leave
  // closes). A second close gives bad_descriptor (the one without ec ignores that).
  void close(asio::error_code& ec) noexcept;
  void close() noexcept {
    asio::error_code ignored;
    close(ignored);
  }

  // --- facts -------------------------------------------------------------------------------------------------------------------------
  tcp_endpoint local_endpoint(asio::error_code& ec) const;
  tcp_endpoint local_endpoint() const;
  tcp_endpoint remote_endpoint(asio::error_code& ec) const;
  tcp_endpoint remote_endpoint() const;
  void no_delay(bool on, asio::error_code& ec);
  void no_delay(bool on);

  // The descriptor, -1 when not open: for socket options. Stays ours: do not close it, do not make it blocking.
  native_handle_type native_handle() const noexcept;

 private:
  friend class tcp_listener;
  friend struct conn_maker;
  enum class write_mode : uint8_t { attempt, some, all };

  explicit tcp_conn(rt::fd* f) noexcept : fd_(f) {}

  size_t read_one(void* data, size_t size, bool park, asio::error_code& ec);
  size_t read_pieces(const iovec* v, int count, size_t bytes, bool park, asio::error_code& ec);
  size_t write_one(const void* data, size_t size, write_mode mode, asio::error_code& ec);
  size_t write_pieces(iovec* v, int count, size_t bytes, write_mode mode, asio::error_code& ec);
  void set_deadline(int64_t ns, char mode);

  template <class Sequence>
  size_t read_sequence(const Sequence& buffers, bool park, asio::error_code& ec) {
    if constexpr (std::is_convertible_v<const Sequence&, asio::mutable_buffer>) {
      const asio::mutable_buffer b(buffers);
      return read_one(b.data(), b.size(), park, ec);
    } else {
      detail::io_pieces p;
      detail::gather<asio::mutable_buffer>(p, buffers);
      return read_pieces(p.piece, p.count, p.bytes, park, ec);
    }
  }

  template <class Sequence>
  size_t write_sequence(const Sequence& buffers, write_mode mode, asio::error_code& ec) {
    if constexpr (std::is_convertible_v<const Sequence&, asio::const_buffer>) {
      const asio::const_buffer b(buffers);
      return write_one(b.data(), b.size(), mode, ec);
    } else {
      detail::io_pieces p;
      if (mode != write_mode::all) {
        detail::gather<asio::const_buffer>(p, buffers);
        return write_pieces(p.piece, p.count, p.bytes, mode, ec);
      }
      size_t done = 0;
      ec.clear();
      auto end = asio::buffer_sequence_end(buffers);
      for (auto it = asio::buffer_sequence_begin(buffers); it != end; ++it) {
        const asio::const_buffer b(*it);
        if (p.add(b.data(), b.size())) continue;
        done += write_pieces(p.piece, p.count, p.bytes, mode, ec);
        if (ec) return done;
        p.count = 0;
        p.bytes = 0;
        p.add(b.data(), b.size());
      }
      return done + write_pieces(p.piece, p.count, p.bytes, mode, ec);
    }
  }

  rt::fd* fd_ = nullptr;
};

// A listening socket. The same rules of sharing and closing as tcp_conn's.
class tcp_listener {
 public:
  using native_handle_type = int;
  using clock = std::chrono::steady_clock;

  tcp_listener() noexcept = default;
  tcp_listener(tcp_listener&& from) noexcept : fd_(from.fd_) { from.fd_ = nullptr; }
  tcp_listener& operator=(tcp_listener&& from) noexcept;
  ~tcp_listener();

  bool is_open() const noexcept;

  // Parks until a connection comes. The connection is non-blocking, close-on-exec, TCP_NODELAY.
  // Connections that died in the queue are skipped. When the process or the machine has no descriptor left, accept first
  // parks 5 ms, twice as long each time in a row up to 1 s (less if closed meanwhile), and then gives no_descriptors or
  // ENFILE: a loop that logs the error and accepts again neither spins nor loses the connection, which stays in the kernel's queue.
  tcp_conn accept(asio::error_code& ec);
  tcp_conn accept();

  void accept_deadline(clock::time_point t) { set_deadline(detail::deadline_ns(t)); }
  void accept_deadline(std::chrono::nanoseconds d) { set_deadline(detail::deadline_after(d)); }

  // As tcp_conn::close: a goroutine parked in accept wakes with operation_aborted.
  void close(asio::error_code& ec) noexcept;
  void close() noexcept {
    asio::error_code ignored;
    close(ignored);
  }

  tcp_endpoint local_endpoint(asio::error_code& ec) const;  // with the real port when 0 was asked for
  tcp_endpoint local_endpoint() const;
  native_handle_type native_handle() const noexcept;

 private:
  friend struct conn_maker;
  explicit tcp_listener(rt::fd* f) noexcept : fd_(f) {}
  void set_deadline(int64_t ns);

  rt::fd* fd_ = nullptr;
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
  // For all addresses of a name together. The lookup itself cannot be cut short; it counts.
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
};

// Connects; parks until the peer answers. Text forms as for listen, with a port other than 0; a name's addresses are tried in the
// order the resolver gave them, the error is the first one's. Numeric addresses ask no resolver.
tcp_conn dial(const tcp_endpoint& peer, asio::error_code& ec, const dial_options& options = {});
tcp_conn dial(const tcp_endpoint& peer, const dial_options& options = {});
tcp_conn dial(std::string_view address, asio::error_code& ec, const dial_options& options = {});
tcp_conn dial(std::string_view address, const dial_options& options = {});

// "127.0.0.1:8080", "[::1]:8080", ":8080" without asking a resolver: invalid_argument with an explanation in *why (when not null) if the
// text is not of that form.
tcp_endpoint parse_endpoint(std::string_view address, asio::error_code& ec, std::string* why = nullptr);
std::string to_string(const tcp_endpoint& e);

}  // namespace warren

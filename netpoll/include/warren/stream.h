// stream: a connection of bytes, whatever carries it. tcp_conn, unix_conn and tls_conn are streams.
//
// Code that serves connections takes a stream& (or owns a std::unique_ptr<stream>) and works over all of them:
//
//   std::unique_ptr<warren::stream> c = listener.accept_stream();   // tcp_listener, unix_listener
//   c = std::make_unique<warren::tls_conn>(std::move(c), context);  // <warren/tls.h>
//
// A stream meets Asio's SyncReadStream and SyncWriteStream: asio::read, asio::read_until, asio::write work on it. Each operation has two
// overloads, one that throws warren::net_error and one that fills an asio::error_code.
//
// Errors (asio::error's and the system's categories; TLS adds its own; errno is never set or read by a caller):
//   asio::error::eof                the peer finished its side (read only)
//   asio::error::timed_out          a deadline passed. The connection is intact: set a later deadline and go on.
//   asio::error::operation_aborted  the connection was closed while the goroutine was parked on it
//   asio::error::bad_descriptor     the operation began after close(), or on an object that was never open
//   asio::error::would_block        try_… only: nothing could be done without parking
//   anything else                   what the system call said: connection_reset, broken_pipe, fault …
//
// Threads and goroutines: a stream may be read by one goroutine while another writes, and closed, shut down or given deadlines by a third.
// Several readers (or several writers) at once are safe and take turns in the order they came. Moving and destroying must not coincide with
// any other use. Operations that may park are called on a goroutine; close() and the destructor may be called on any thread.
#pragma once

#ifndef ASIO_STANDALONE
#define ASIO_STANDALONE 1
#endif

#include <sys/uio.h>

#include <asio/buffer.hpp>
#include <asio/error.hpp>
#include <asio/socket_base.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <type_traits>

namespace warren {

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

class stream {
 public:
  using clock = std::chrono::steady_clock;

  virtual ~stream() = default;

  virtual bool is_open() const noexcept = 0;  // false after close() began

  // --- reading ---------------------------------------------------------------------------------------------------------------------
  // Reads at least one byte; parks until there is one. Returns how many; 0 with ec set, or with ec clear if the buffers were empty.
  // Costs one system call when data is there. At most 64 buffers are filled per call.
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
  virtual bool wait_readable(asio::error_code& ec) = 0;
  void wait_readable() {
    asio::error_code ec;
    if (!wait_readable(ec)) detail::throw_net_error("wait_readable", ec);
  }

  // The same without a stack to wait on, for the loop of a connection that may be idle for hours. Where a wait would park, this returns
  // true, and a goroutine is started that calls fn(arg) when the wait would be over (or earlier: it asks again). Until then 128 bytes are
  // kept. false: nothing was started. There is something to read (ec clear), or a wait would fail (ec says how), or this kind of stream
  // cannot do without a stack and has parked (ec as wait_readable leaves it). Sockets can, and TLS over one. Once it has returned true the
  // stream is the new goroutine's, which may have destroyed it by now; another reader waits for its turn. What arg points to must be kept
  // by somebody, if it is collected memory.
  //   void read_on(void* arg) { for (;;) { if (c.go_when_readable(&read_on, arg, ec)) return; if (ec) break; … try_read_some … } … }
  virtual bool go_when_readable(void (*fn)(void* arg), void* arg, asio::error_code& ec);

  // --- writing ---------------------------------------------------------------------------------------------------------------------
  // Writes at least one byte; parks while there is no room. Returns how many, as read_some does. One system call when
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

  // As write_some, but gives would_block instead of parking. (Another writer at work also gives would_block.)
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
  void read_deadline(clock::time_point t) { set_deadline(detail::deadline_ns(t), side::read); }
  void write_deadline(clock::time_point t) { set_deadline(detail::deadline_ns(t), side::write); }
  void deadline(clock::time_point t) { set_deadline(detail::deadline_ns(t), side::both); }
  // The same, counted from now; d ≤ 0 is a deadline that has passed.
  void read_deadline(std::chrono::nanoseconds d) { set_deadline(detail::deadline_after(d), side::read); }
  void write_deadline(std::chrono::nanoseconds d) { set_deadline(detail::deadline_after(d), side::write); }
  void deadline(std::chrono::nanoseconds d) { set_deadline(detail::deadline_after(d), side::both); }

  // --- the end ----------------------------------------------------------------------------------------------------------------------
  // shutdown_send: the peer reads to the end, then eof; this side may go on reading. shutdown_receive: a local reader gets eof.
  virtual void shutdown(asio::socket_base::shutdown_type what, asio::error_code& ec) = 0;
  void shutdown(asio::socket_base::shutdown_type what) {
    asio::error_code ec;
    shutdown(what, ec);
    if (ec) detail::throw_net_error("shutdown", ec);
  }

  // Closes. Goroutines parked on the connection wake with operation_aborted, later operations get bad_descriptor. Returns once the
  // descriptor is closed, for which it may park a moment while they leave (on a foreign thread it does not wait: the last one to leave
  // closes it). A second close gives bad_descriptor.
  virtual void close(asio::error_code& ec) noexcept = 0;
  void close() noexcept {
    asio::error_code ignored;
    close(ignored);
  }

  // --- facts ------------------------------------------------------------------------------------------------------------------------
  // Who is at the other end, as text for logs and access rules: "127.0.0.1:40112", "[::1]:40112", "unix:/run/x.sock", "unix:" for a peer
  // without a name; empty when not known (any more). What TLS runs over is what its carrier says.
  virtual std::string peer_name() const = 0;

  // What the deadlines of a stream refer to, and how a write may wait: for those who implement one.
  enum class side : uint8_t { read, write, both };
  enum class write_mode : uint8_t { attempt, some, all };

 protected:
  stream() noexcept = default;
  stream(stream&&) noexcept = default;
  stream& operator=(stream&&) noexcept = default;

  // REQUIRES: the pieces are not empty, but there may be none (bytes 0: clears ec, returns 0). park false: would_block instead.
  virtual size_t read_pieces(const iovec* v, int count, size_t bytes, bool park, asio::error_code& ec) = 0;
  // As above. May change v.
  virtual size_t write_pieces(iovec* v, int count, size_t bytes, write_mode mode, asio::error_code& ec) = 0;
  virtual void set_deadline(int64_t ns, side which) = 0;  // nanotime, 0 = none

 private:
  template <class Sequence>
  size_t read_sequence(const Sequence& buffers, bool park, asio::error_code& ec) {
    if constexpr (std::is_convertible_v<const Sequence&, asio::mutable_buffer>) {
      const asio::mutable_buffer b(buffers);
      const iovec one{b.data(), b.size()};
      return read_pieces(&one, b.size() != 0, b.size(), park, ec);
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
      iovec one{const_cast<void*>(b.data()), b.size()};
      return write_pieces(&one, b.size() != 0, b.size(), mode, ec);
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
};

// Where streams come from: tcp_listener, unix_listener. The same rules of sharing and closing as a stream's.
class stream_listener {
 public:
  using clock = std::chrono::steady_clock;

  virtual ~stream_listener() = default;

  virtual bool is_open() const noexcept = 0;

  // As accept() of the listener proper: parks until somebody connects. nullptr with ec set.
  virtual std::unique_ptr<stream> accept_stream(asio::error_code& ec) = 0;
  std::unique_ptr<stream> accept_stream() {
    asio::error_code ec;
    std::unique_ptr<stream> s = accept_stream(ec);
    if (ec) detail::throw_net_error("accept", ec);
    return s;
  }

  void accept_deadline(clock::time_point t) { set_deadline(detail::deadline_ns(t)); }
  void accept_deadline(std::chrono::nanoseconds d) { set_deadline(detail::deadline_after(d)); }

  // A goroutine parked in accept wakes with operation_aborted.
  virtual void close(asio::error_code& ec) noexcept = 0;
  void close() noexcept {
    asio::error_code ignored;
    close(ignored);
  }

  // Where it listens, as text that dial_stream() takes: "127.0.0.1:8080", "unix:/run/x.sock". Empty when not open.
  virtual std::string address() const = 0;

 protected:
  stream_listener() noexcept = default;
  stream_listener(stream_listener&&) noexcept = default;
  stream_listener& operator=(stream_listener&&) noexcept = default;
  virtual void set_deadline(int64_t ns) = 0;  // nanotime, 0 = none
};

namespace rt {
class fd;
}

namespace detail {

// What tcp_conn and unix_conn have in common: a stream on a descriptor that the poller watches. Closes when destroyed.
class socket_stream : public stream {
 public:
  using native_handle_type = int;

  ~socket_stream() override;

  using stream::close;
  using stream::shutdown;
  using stream::wait_readable;
  bool is_open() const noexcept final;
  bool wait_readable(asio::error_code& ec) final;
  bool go_when_readable(void (*fn)(void* arg), void* arg, asio::error_code& ec) final;
  void shutdown(asio::socket_base::shutdown_type what, asio::error_code& ec) final;
  void close(asio::error_code& ec) noexcept final;

  // The descriptor, -1 when not open: for socket options. Stays ours: do not close it, do not make it blocking.
  native_handle_type native_handle() const noexcept;

 protected:
  socket_stream() noexcept = default;
  explicit socket_stream(rt::fd* f) noexcept : fd_(f) {}
  socket_stream(socket_stream&& from) noexcept : fd_(from.fd_) { from.fd_ = nullptr; }
  socket_stream& operator=(socket_stream&& from) noexcept;

  size_t read_pieces(const iovec* v, int count, size_t bytes, bool park, asio::error_code& ec) final;
  size_t write_pieces(iovec* v, int count, size_t bytes, write_mode mode, asio::error_code& ec) final;
  void set_deadline(int64_t ns, side which) final;

  rt::fd* fd_ = nullptr;
};

// The same for listeners.
class socket_listener : public stream_listener {
 public:
  using native_handle_type = int;

  ~socket_listener() override;

  using stream_listener::close;
  bool is_open() const noexcept final;
  void close(asio::error_code& ec) noexcept final;
  native_handle_type native_handle() const noexcept;

 protected:
  socket_listener() noexcept = default;
  explicit socket_listener(rt::fd* f) noexcept : fd_(f) {}
  socket_listener(socket_listener&& from) noexcept : fd_(from.fd_) { from.fd_ = nullptr; }
  socket_listener& operator=(socket_listener&& from) noexcept;
  void set_deadline(int64_t ns) final;
  virtual void closing() noexcept {}  // close() is about to close the descriptor; at each call of it

  rt::fd* fd_ = nullptr;
};

}  // namespace detail

}  // namespace warren

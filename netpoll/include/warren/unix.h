// Unix sockets (streams) for goroutines. A unix_conn is a warren::stream as a tcp_conn is.
//
// Addresses: a path ("/run/x.sock", at most 107 bytes), or on Linux "@name" for the abstract name space, which leaves no file behind.
// In listen_stream() and dial_stream() they are written with "unix:" before them.
#pragma once

#include <asio/error.hpp>
#include <memory>
#include <string>
#include <string_view>

#include "warren/net.h"

namespace warren {

// Who is at the other end of a unix connection, as the kernel saw it when the peer connected (or listened).
struct peer_credentials {
  int64_t pid = 0;  // 0 where the system does not tell
  uint32_t uid = 0;
  uint32_t gid = 0;
};

class unix_conn final : public detail::socket_stream {
 public:
  unix_conn() noexcept = default;  // not open
  unix_conn(unix_conn&& from) noexcept = default;
  unix_conn& operator=(unix_conn&& from) noexcept = default;

  static unix_conn adopt(native_handle_type socket, asio::error_code& ec);  // as tcp_conn::adopt

  peer_credentials credentials(asio::error_code& ec) const;
  peer_credentials credentials() const;
  // Paths as listen and dial take them; empty for a socket without a name (the usual client).
  std::string local_address() const;
  std::string remote_address() const;
  std::string peer_name() const override;  // "unix:" and the remote address

 private:
  friend struct unix_maker;
  friend class unix_listener;
  explicit unix_conn(rt::fd* f) noexcept : socket_stream(f) {}
};

// A listening socket. Its file is removed when it is closed, unless unlink_on_close(false) was called or somebody else has put
// another file in its place.
class unix_listener final : public detail::socket_listener {
 public:
  unix_listener() noexcept;  // not open
  unix_listener(unix_listener&& from) noexcept;
  unix_listener& operator=(unix_listener&& from) noexcept;
  ~unix_listener() override;

  unix_conn accept(asio::error_code& ec);  // as tcp_listener::accept
  unix_conn accept();
  using stream_listener::accept_stream;
  std::unique_ptr<stream> accept_stream(asio::error_code& ec) override;

  void unlink_on_close(bool on) noexcept;
  std::string address() const override;  // "unix:" and the path

 private:
  friend struct unix_maker;
  struct file;  // what to remove
  unix_listener(rt::fd* f, std::unique_ptr<file> made) noexcept;
  void closing() noexcept override;

  std::unique_ptr<file> file_;
};

struct unix_listen_options {
  int backlog = 4096;
  // Permission bits of the file. They hold before anybody can connect: the socket listens only afterwards.
  unsigned mode = 0666;
  // A file that is there already and is a socket that nobody listens on (connecting to it is refused) is removed first: what a
  // killed server leaves behind. A live one, or another kind of file, is address_in_use. Of several processes that do this at once one
  // succeeds: listen_unix locks the directory (flock) while it looks, and may park a moment for that.
  bool replace_stale = true;
};

unix_listener listen_unix(std::string_view path, asio::error_code& ec, const unix_listen_options& options = {});
unix_listener listen_unix(std::string_view path, const unix_listen_options& options = {});
// Parks while the listener's backlog is full. Of the options: deadline, timeout, stop.
unix_conn dial_unix(std::string_view path, asio::error_code& ec, const dial_options& options = {});
unix_conn dial_unix(std::string_view path, const dial_options& options = {});

}  // namespace warren

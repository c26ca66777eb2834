// unix_conn and unix_listener.
//
// The kernel has no event for "there is room in the backlog now": a connect to a full one gives EAGAIN on Linux and nothing more. dial_unix
// therefore asks again, after 1 ms at first and twice as long each time up to 50 ms.
//
// The file. bind(2) makes it, and nothing removes it when the process dies: the next bind finds it in use. So a file is tried first: if
// connecting to it is refused nobody listens, and it may go. Its mode is set between bind and listen: before listen nobody can connect.
//
// Two processes that start at once. Both may find the stale file; the slower one would remove the file that the faster has just put in its
// place. And a socket that is bound but does not listen yet refuses as a dead one does. So all this, from bind to listen, happens under an
// exclusive flock(2) on the directory, which needs no file of its own, leaves none behind, and ends with its holder. It is held for some
// ten microseconds; a listener waits for it, up to kLongestLockWait: others lock directories too (systemd-tmpfiles does, for as long as it
// cleans up). After that it binds all the same, but removes nothing. Where there is no such lock (a directory that may not be read, a
// file system without), what is removed is at least the very file that refused. A process that binds without this lock, in the midst of
// it, cannot be helped.
//
// On close it is removed if it is still ours: device and inode are compared, for a successor may have put its own in place.
#include "warren/unix.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>

#include "netpoll/event.h"
#include "netpoll/socket.h"
#include "runtime/os/clock.h"
#include "runtime/sched/park.h"
#include "warren/go.h"

namespace warren {

struct unix_listener::file {
  std::string path;  // as given; absolute names stay good when the process changes its directory
  rt::sys::file_identity id{};
  bool on_disk = false;
  std::atomic<bool> unlink{true};
};

struct unix_maker {
  static unix_conn conn(rt::fd* f) noexcept { return unix_conn(f); }
  static unix_listener listen(std::string_view path, asio::error_code& ec, const unix_listen_options& options, std::string* why);
};

namespace {

namespace sys = rt::sys;

constexpr int64_t kFirstPause = 1'000'000;
constexpr int64_t kLongestPause = 50'000'000;
constexpr int64_t kLongestLockWait = 2'000'000'000;

struct unix_address {
  sockaddr_un a{};
  socklen_t size = 0;
  const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&a); }
};

bool make_address(std::string_view path, unix_address* out, std::string* why) {
  constexpr const char* kForm = "write a path, for example /run/server.sock";
  const bool abstract = !path.empty() && path.front() == '@';
  if (path.empty() || (abstract && path.size() == 1)) {
    *why = std::string("empty path; ") + kForm;
    return false;
  }
#ifndef __linux__
  if (abstract) {
    *why = std::string("names without a file (@…) exist on Linux only; ") + kForm;
    return false;
  }
#endif
  if (path.find('\0') != std::string_view::npos) {
    *why = std::string("path contains a NUL character; ") + kForm;
    return false;
  }
  // A path ends with a NUL in the kernel's structure, a name without a file begins with one.
  if (path.size() >= sizeof out->a.sun_path) {
    *why = "path of " + std::to_string(path.size()) + " bytes; a unix socket's has at most " + std::to_string(sizeof out->a.sun_path - 1);
    return false;
  }
  out->a.sun_family = AF_UNIX;
  memcpy(out->a.sun_path, path.data(), path.size());
  if (abstract) out->a.sun_path[0] = '\0';
  out->size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? 0 : 1));
  return true;
}

// The text for what getsockname and getpeername return.
std::string path_of(const sys::socket_address& a) {
  const sockaddr_un* u = reinterpret_cast<const sockaddr_un*>(&a.storage);
  constexpr size_t kHead = offsetof(sockaddr_un, sun_path);
  if (a.size <= kHead) return {};
  const size_t size = std::min<size_t>(a.size - kHead, sizeof u->sun_path);
  if (u->sun_path[0] == '\0') return size > 1 ? '@' + std::string(u->sun_path + 1, size - 1) : std::string();
  return std::string(u->sun_path, strnlen(u->sun_path, size));
}

template <class Name>
std::string path_of(const rt::fd* f, Name name) {
  asio::error_code ignored;
  sys::socket_address a;
  if (f == nullptr || !f->with([&](int s) { return name(s, &a); }, ignored).ok()) return {};
  return path_of(a);
}

// Nobody listens on the socket file: connecting to it is refused.
bool is_stale(const unix_address& a, sys::file_identity* file) noexcept {
  if (!sys::is_socket_file(a.a.sun_path, file)) return false;
  const sys::result s = sys::socket(AF_UNIX, SOCK_STREAM, 0);
  if (!s.ok()) return false;
  const sys::result c = sys::connect(static_cast<int>(s.value), a.get(), a.size);
  sys::close(static_cast<int>(s.value));
  return c.error == ECONNREFUSED;
}

// The lock of a path's directory, while it exists.
class directory_lock {
 public:
  explicit directory_lock(const std::string& path) {
    const size_t slash = path.rfind('/');
    const std::string directory = slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1));
    const int64_t until = rt::nanotime() + kLongestLockWait;
    for (int64_t pause = kFirstPause;; pause = std::min(pause * 2, kLongestPause)) {
      const sys::result r = sys::lock_directory(directory.c_str());
      taken_by_others_ = r.error == EWOULDBLOCK;
      if (r.ok()) descriptor_ = static_cast<int>(r.value);
      if (!taken_by_others_ || rt::nanotime() >= until) return;
      if (rt::getg() != nullptr) {
        sleep(std::chrono::nanoseconds(pause));
      } else {
        const timespec t{.tv_sec = pause / 1'000'000'000, .tv_nsec = pause % 1'000'000'000};
        nanosleep(&t, nullptr);
      }
    }
  }
  ~directory_lock() {
    if (descriptor_ >= 0) sys::close(descriptor_);
  }
  directory_lock(const directory_lock&) = delete;
  directory_lock& operator=(const directory_lock&) = delete;
  bool taken_by_others() const noexcept { return taken_by_others_; }

 private:
  int descriptor_ = -1;
  bool taken_by_others_ = false;
};

unix_conn connect_to(const unix_address& a, asio::error_code& ec, int64_t deadline, rt::event& wake, const std::stop_token& stop) {
  for (int64_t pause = kFirstPause;; pause = std::min(pause * 2, kLongestPause)) {
    const sys::result s = sys::socket(AF_UNIX, SOCK_STREAM, 0);
    if (!s.ok()) {
      rt::fd::set(ec, s.error);
      return {};
    }
    const int sock = static_cast<int>(s.value);
    const sys::result c = sys::connect(sock, a.get(), a.size);
    if (c.ok() || c.error == EINPROGRESS) {  // in progress: FreeBSD, and a signal; writing parks until it is through
      rt::fd* f = rt::fd::open(sock, ec);
      return f == nullptr ? unix_conn() : unix_maker::conn(f);
    }
    sys::close(sock);
    if (c.error != EAGAIN) {
      rt::fd::set(ec, c.error);
      return {};
    }
    const int64_t now = rt::nanotime();
    if (deadline != 0 && now >= deadline) {
      ec = asio::error::timed_out;
      return {};
    }
    const int64_t until = now + pause;
    wake.wait(deadline != 0 ? std::min(deadline, until) : until);
    if (stop.stop_requested()) {
      ec = asio::error::operation_aborted;
      return {};
    }
  }
}

unix_conn dial_path(std::string_view path, asio::error_code& ec, const dial_options& options, std::string* why) {
  unix_address a;
  ec = asio::error::invalid_argument;
  if (!make_address(path, &a, why)) return {};
  const int64_t deadline = rt::deadline_of(options);
  ec.clear();
  if (options.stop.stop_requested()) ec = asio::error::operation_aborted;
  if (!ec && deadline != 0 && rt::nanotime() >= deadline) ec = asio::error::timed_out;
  if (ec) return {};
  rt::event wake;
  const auto on_stop = [&wake] { wake.set(); };
  std::optional<std::stop_callback<decltype(on_stop)>> stopper;
  if (options.stop.stop_possible()) stopper.emplace(options.stop, on_stop);
  return connect_to(a, ec, deadline, wake, options.stop);
}

}  // namespace

// --- unix_conn
// ------------------------------------------------------------------------------------------------------------------------------

unix_conn unix_conn::adopt(native_handle_type socket, asio::error_code& ec) {
  const sys::result r = sys::make_nonblocking(socket);
  if (!r.ok()) {
    rt::fd::set(ec, r.error);
    sys::close(socket);
    return {};
  }
  return unix_conn(rt::fd::open(socket, ec));
}

peer_credentials unix_conn::credentials(asio::error_code& ec) const {
  peer_credentials out;
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return out;
  }
  fd_->with([&](int s) { return sys::peer_credentials(s, &out.pid, &out.uid, &out.gid); }, ec);
  return out;
}

peer_credentials unix_conn::credentials() const {
  asio::error_code ec;
  const peer_credentials c = credentials(ec);
  if (ec) detail::throw_net_error("credentials", ec);
  return c;
}

std::string unix_conn::local_address() const { return path_of(fd_, sys::getsockname); }
std::string unix_conn::remote_address() const { return path_of(fd_, sys::getpeername); }
std::string unix_conn::peer_name() const { return is_open() ? "unix:" + remote_address() : std::string(); }

// --- unix_listener
// --------------------------------------------------------------------------------------------------------------------------

unix_listener::unix_listener(rt::fd* f, std::unique_ptr<file> made) noexcept : socket_listener(f), file_(std::move(made)) {}
unix_listener::unix_listener(unix_listener&& from) noexcept = default;
unix_listener::unix_listener() noexcept = default;

unix_listener& unix_listener::operator=(unix_listener&& from) noexcept {
  if (this == &from) return *this;
  if (is_open()) closing();
  file_ = std::move(from.file_);
  socket_listener::operator=(std::move(from));
  return *this;
}

unix_listener::~unix_listener() {
  if (is_open()) closing();
}

void unix_listener::closing() noexcept {
  if (file_ == nullptr || !file_->unlink.exchange(false, std::memory_order_relaxed)) return;
  if (file_->on_disk) sys::unlink_if_same(file_->path.c_str(), file_->id);
}

void unix_listener::unlink_on_close(bool on) noexcept {
  if (file_ != nullptr) file_->unlink.store(on, std::memory_order_relaxed);
}

unix_conn unix_listener::accept(asio::error_code& ec) {
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return {};
  }
  const int s = fd_->accept(ec);
  if (s < 0) return {};
  return unix_conn(rt::fd::open(s, ec));
}

unix_conn unix_listener::accept() {
  asio::error_code ec;
  unix_conn c = accept(ec);
  if (ec) detail::throw_net_error("accept", ec);
  return c;
}

std::unique_ptr<stream> unix_listener::accept_stream(asio::error_code& ec) {
  unix_conn c = accept(ec);
  return ec ? nullptr : std::make_unique<unix_conn>(std::move(c));
}

std::string unix_listener::address() const { return is_open() && file_ != nullptr ? "unix:" + file_->path : std::string(); }

unix_listener unix_maker::listen(std::string_view path, asio::error_code& ec, const unix_listen_options& options, std::string* why) {
  unix_address a;
  ec = asio::error::invalid_argument;
  if (!make_address(path, &a, why)) return {};
  auto file = std::make_unique<unix_listener::file>();
  file->path = path;
  file->on_disk = path.front() != '@';
  std::optional<directory_lock> alone;
  if (file->on_disk) alone.emplace(file->path);
  const sys::result s = sys::socket(AF_UNIX, SOCK_STREAM, 0);
  if (!s.ok()) {
    rt::fd::set(ec, s.error);
    return {};
  }
  const int sock = static_cast<int>(s.value);
  sys::result r = sys::bind(sock, a.get(), a.size);
  if (r.error == EADDRINUSE && file->on_disk && options.replace_stale) {
    sys::file_identity stale;
    if (alone->taken_by_others()) {
      *why = "in use, and another process keeps its directory locked; stop that, or remove the file if nobody listens on it";
    } else if (is_stale(a, &stale)) {
      sys::unlink_if_same(a.a.sun_path, stale);
      r = sys::bind(sock, a.get(), a.size);
    }
  }
  const bool bound = r.ok();
  if (r.ok() && file->on_disk) {
    r = sys::file_id(a.a.sun_path, &file->id);
    if (r.ok()) r = sys::chmod(a.a.sun_path, options.mode);
  }
  if (r.ok()) r = sys::listen(sock, options.backlog);
  alone.reset();
  if (!r.ok()) {
    if (bound && file->on_disk) sys::unlink_if_same(a.a.sun_path, file->id);
    rt::fd::set(ec, r.error);
    sys::close(sock);
    return {};
  }
  rt::fd* f = rt::fd::open(sock, ec);
  if (f == nullptr) {
    if (file->on_disk) sys::unlink_if_same(a.a.sun_path, file->id);
    return {};
  }
  return unix_listener(f, std::move(file));
}

unix_listener listen_unix(std::string_view path, asio::error_code& ec, const unix_listen_options& options) {
  std::string ignored;
  return unix_maker::listen(path, ec, options, &ignored);
}

unix_listener listen_unix(std::string_view path, const unix_listen_options& options) {
  asio::error_code ec;
  std::string why;
  unix_listener l = unix_maker::listen(path, ec, options, &why);
  if (ec) rt::throw_with_address("listen", "unix:" + std::string(path), ec, why);
  return l;
}

unix_conn dial_unix(std::string_view path, asio::error_code& ec, const dial_options& options) {
  std::string ignored;
  return dial_path(path, ec, options, &ignored);
}

unix_conn dial_unix(std::string_view path, const dial_options& options) {
  asio::error_code ec;
  std::string why;
  unix_conn c = dial_path(path, ec, options, &why);
  if (ec) rt::throw_with_address("dial", "unix:" + std::string(path), ec, why);
  return c;
}

}  // namespace warren

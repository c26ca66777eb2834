#include "netpoll/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/signalfd.h>
#endif

#include <memory>

#include "netpoll/sys_call.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0  // macOS: SO_NOSIGPIPE on each socket instead
#endif

namespace warren::rt::sys {

result recv(int fd, void* data, size_t size, int flags) noexcept {
  return retry([&] { return ::recv(fd, data, size, flags); });
}
result readv(int fd, const iovec* v, int count) noexcept {
  return retry([&] { return ::readv(fd, v, count); });
}
result send(int fd, const void* data, size_t size) noexcept {
  return retry([&] { return ::send(fd, data, size, MSG_NOSIGNAL); });
}
result sendv(int fd, const iovec* v, int count) noexcept {
  msghdr m{};
  m.msg_iov = const_cast<iovec*>(v);
  m.msg_iovlen = static_cast<size_t>(count);
  return retry([&] { return ::sendmsg(fd, &m, MSG_NOSIGNAL); });
}
result receive_message(int fd, msghdr* m) noexcept {
  return retry([&] { return ::recvmsg(fd, m, 0); });
}
result send_message(int fd, const msghdr* m) noexcept {
  return retry([&] { return ::sendmsg(fd, m, MSG_NOSIGNAL); });
}
result read(int fd, void* data, size_t size) noexcept {
  return retry([&] { return ::read(fd, data, size); });
}
result write(int fd, const void* data, size_t size) noexcept {
  return retry([&] { return ::write(fd, data, size); });
}

// macOS has neither the flags nor accept4: there the descriptor can leak into a child that another thread forks in between.
#if defined(SOCK_NONBLOCK) && defined(SOCK_CLOEXEC)
result socket(int family, int type, int protocol) noexcept {
  return once([&] { return ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol); });
}
result accept(int fd) noexcept {
  return retry([&] { return ::accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC); });
}
#else
namespace {
result prepared(result r) noexcept {
  if (!r.ok()) return r;
  const int fd = static_cast<int>(r.value);
  result set = make_nonblocking(fd);
#ifdef SO_NOSIGPIPE
  if (set.ok()) set = set_option(fd, SOL_SOCKET, SO_NOSIGPIPE, 1);
#endif
  if (set.ok()) return r;
  close(fd);
  return set;
}
}  // namespace
result socket(int family, int type, int protocol) noexcept {
  return prepared(once([&] { return ::socket(family, type, protocol); }));
}
result accept(int fd) noexcept {
  return prepared(retry([&] { return ::accept(fd, nullptr, nullptr); }));
}
#endif
result connect(int fd, const sockaddr* a, socklen_t size) noexcept {
  const result r = once([&] { return ::connect(fd, a, size); });
  return r.error == EINTR ? result{-1, EINPROGRESS} : r;
}
result bind(int fd, const sockaddr* a, socklen_t size) noexcept {
  return once([&] { return ::bind(fd, a, size); });
}
result listen(int fd, int backlog) noexcept {
  return once([&] { return ::listen(fd, backlog); });
}
result shutdown(int fd, int how) noexcept {
  return once([&] { return ::shutdown(fd, how); });
}
result close(int fd) noexcept {
  return once([&] { return ::close(fd); });
}
result getsockname(int fd, socket_address* out) noexcept {
  out->size = sizeof(out->storage);
  return once([&] { return ::getsockname(fd, out->get(), &out->size); });
}
result getpeername(int fd, socket_address* out) noexcept {
  out->size = sizeof(out->storage);
  return once([&] { return ::getpeername(fd, out->get(), &out->size); });
}
result set_option(int fd, int level, int name, int value) noexcept {
  return once([&] { return ::setsockopt(fd, level, name, &value, sizeof value); });
}
result get_option(int fd, int level, int name) noexcept {
  int value = 0;
  socklen_t size = sizeof value;
  const result r = once([&] { return ::getsockopt(fd, level, name, &value, &size); });
  return r.ok() ? result{value, 0} : r;
}
result make_nonblocking(int fd) noexcept {
  const result flags = once([&] { return ::fcntl(fd, F_GETFL); });
  if (!flags.ok()) return flags;
  const result set = once([&] { return ::fcntl(fd, F_SETFL, static_cast<int>(flags.value) | O_NONBLOCK); });
  if (!set.ok()) return set;
  return once([&] { return ::fcntl(fd, F_SETFD, FD_CLOEXEC); });
}

result peer_credentials(int fd, int64_t* pid, uint32_t* uid, uint32_t* gid) noexcept {
#ifdef SO_PEERCRED
  ucred c{};
  socklen_t size = sizeof c;
  const result r = once([&] { return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &size); });
  *pid = c.pid;
  *uid = c.uid;
  *gid = c.gid;
  return r;
#else
  uid_t u = 0;
  gid_t g = 0;
  const result r = once([&] { return ::getpeereid(fd, &u, &g); });
  *pid = 0;
  *uid = u;
  *gid = g;
  return r;
#endif
}

namespace {
result look(const char* path, struct stat* out) noexcept {
  return once([&] { return ::lstat(path, out); });
}
}  // namespace

result file_id(const char* path, file_identity* out) noexcept {
  struct stat s {};
  const result r = look(path, &s);
  *out = {static_cast<uint64_t>(s.st_dev), static_cast<uint64_t>(s.st_ino)};
  return r;
}
bool is_socket_file(const char* path, file_identity* out) noexcept {
  struct stat s {};
  if (!look(path, &s).ok() || !S_ISSOCK(s.st_mode)) return false;
  *out = {static_cast<uint64_t>(s.st_dev), static_cast<uint64_t>(s.st_ino)};
  return true;
}
result lock_directory(const char* path) noexcept {
  const result dir = retry([&] { return ::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (!dir.ok()) return dir;
  const result lock = retry([&] { return ::flock(static_cast<int>(dir.value), LOCK_EX | LOCK_NB); });
  if (lock.ok()) return dir;
  close(static_cast<int>(dir.value));
  return lock;
}
result chmod(const char* path, unsigned mode) noexcept {
  return once([&] { return ::chmod(path, static_cast<mode_t>(mode)); });
}
result unlink(const char* path) noexcept {
  return once([&] { return ::unlink(path); });
}
void unlink_if_same(const char* path, const file_identity& id) noexcept {
  file_identity now;
  if (file_id(path, &now).ok() && now.device == id.device && now.inode == id.inode) unlink(path);
}

#ifdef __linux__
result signalfd(const sigset_t& set) noexcept {
  return once([&] { return ::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC); });
}
#endif
result block_signals(const sigset_t& set) noexcept {
  const int e = ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return e == 0 ? result{} : result{-1, e};
}
result blocked_signals(sigset_t* out) noexcept {
  const int e = ::pthread_sigmask(SIG_BLOCK, nullptr, out);
  return e == 0 ? result{} : result{-1, e};
}

result sigaction(int signal, const struct sigaction* set, struct sigaction* old) noexcept {
  return once([&] { return ::sigaction(signal, set, old); });
}
result pipe(int ends[2]) noexcept {
  result r = once([&] { return ::pipe(ends); });
  for (int i = 0; r.ok() && i < 2; ++i) {
    r = make_nonblocking(ends[i]);
    if (r.ok()) continue;
    close(ends[0]);
    close(ends[1]);
  }
  return r;
}

uint64_t descriptor_limit() noexcept {
  rlimit r{};
  return ::getrlimit(RLIMIT_NOFILE, &r) == 0 ? static_cast<uint64_t>(r.rlim_cur) : 0;
}

lookup_result lookup(const std::string& host, uint16_t port, bool passive) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_protocol = IPPROTO_TCP;
  hints.ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : AI_ADDRCONFIG);
  addrinfo* list = nullptr;
  lookup_result out;
  out.error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (out.error == EAI_SYSTEM) out.system_error = errno;
  if (out.error != 0) return out;
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(list, &::freeaddrinfo);
  for (const addrinfo* a = list; a != nullptr; a = a->ai_next) {
    if (a->ai_addrlen > sizeof(sockaddr_storage)) continue;
    socket_address& s = out.addresses.emplace_back();
    memcpy(&s.storage, a->ai_addr, a->ai_addrlen);
    s.size = a->ai_addrlen;
  }
  if (out.addresses.empty()) out.error = EAI_NONAME;
  return out;
}

}  // namespace warren::rt::sys

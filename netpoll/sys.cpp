#include "netpoll/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <memory>

namespace warren::rt::sys {

namespace {

// Inlined into each function of this file, none of which can park: errno is the calling thread's.
template <class Call>
inline result once(Call call) noexcept {
  const auto r = call();
  if (r >= 0) return result{static_cast<ssize_t>(r), 0};
  return result{-1, errno};
}

template <class Call>
inline result retry(Call call) noexcept {
  for (;;) {
    const result r = once(call);
    if (r.error != EINTR) return r;
  }
}

}  // namespace

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
result read(int fd, void* data, size_t size) noexcept {
  return retry([&] { return ::read(fd, data, size); });
}
result write(int fd, const void* data, size_t size) noexcept {
  return retry([&] { return ::write(fd, data, size); });
}

result socket(int family, int type, int protocol) noexcept {
  return once([&] { return ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol); });
}
result accept(int fd) noexcept {
  return retry([&] { return ::accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC); });
}
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

result epoll_create() noexcept {
  return once([&] { return ::epoll_create1(EPOLL_CLOEXEC); });
}
result epoll_add(int ep, int fd, uint32_t events, uint64_t data) noexcept {
  epoll_event ev{};
  ev.events = events;
  ev.data.u64 = data;
  return once([&] { return ::epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev); });
}
result epoll_wait(int ep, epoll_event* events, int capacity, int64_t timeout_ns) noexcept {
#ifdef SYS_epoll_pwait2
  static std::atomic<bool> missing{false};  // the kernel (or an emulator) does not know the call
  if (timeout_ns > 0 && !missing.load(std::memory_order_relaxed)) {
    struct {  // the kernel's 64-bit timespec, on every architecture
      int64_t sec;
      int64_t nsec;
    } ts{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
    const result r = once([&] { return ::syscall(SYS_epoll_pwait2, ep, events, capacity, &ts, nullptr, size_t{0}); });
    if (r.error != ENOSYS && r.error != EPERM) return r;
    missing.store(true, std::memory_order_relaxed);
  }
#endif
  constexpr int64_t kLongestMs = 1'000'000'000;  // eleven days: the caller computes the delay anew when it returns
  int ms = -1;
  if (timeout_ns >= 0) {
    const int64_t up = timeout_ns / 1'000'000 + (timeout_ns % 1'000'000 != 0 ? 1 : 0);
    ms = static_cast<int>(up < kLongestMs ? up : kLongestMs);
  }
  return once([&] { return ::epoll_wait(ep, events, capacity, ms); });
}
result eventfd() noexcept {
  return once([&] { return ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); });
}

result signalfd(const sigset_t& set) noexcept {
  return once([&] { return ::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC); });
}
result block_signals(const sigset_t& set) noexcept {
  const int e = ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return e == 0 ? result{} : result{-1, e};
}
result blocked_signals(sigset_t* out) noexcept {
  const int e = ::pthread_sigmask(SIG_BLOCK, nullptr, out);
  return e == 0 ? result{} : result{-1, e};
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

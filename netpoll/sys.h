// The system calls netpoll makes, each with its result and its error in one value.
//
// Why not errno: glibc declares __errno_location() const, so a compiler may keep errno's address in a register across a call that parks;
// the goroutine wakes on another thread and reads the first thread's errno. The functions below are compiled in a file of their own
// and read errno next to the system call, on one thread; nothing else in netpoll reads it.
// All of them retry EINTR, except where said.
#pragma once
#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace warren::rt::sys {

struct result {
  ssize_t value = 0;  // -1 on failure
  int error = 0;      // errno of the failure, 0 on success
  bool ok() const noexcept { return error == 0; }
};

struct socket_address {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);
  sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }
};

result recv(int fd, void* data, size_t size, int flags) noexcept;
result readv(int fd, const iovec* v, int count) noexcept;
result send(int fd, const void* data, size_t size) noexcept;  // MSG_NOSIGNAL
result sendv(int fd, const iovec* v, int count) noexcept;     // sendmsg with MSG_NOSIGNAL
result read(int fd, void* data, size_t size) noexcept;
result write(int fd, const void* data, size_t size) noexcept;

result socket(int family, int type, int protocol) noexcept;          // adds SOCK_NONBLOCK | SOCK_CLOEXEC
result accept(int fd) noexcept;                                      // accept4 with the same
result connect(int fd, const sockaddr* a, socklen_t size) noexcept;  // EINTR: not retried, the connect goes on (report it as EINPROGRESS)
result bind(int fd, const sockaddr* a, socklen_t size) noexcept;
result listen(int fd, int backlog) noexcept;
result shutdown(int fd, int how) noexcept;
result close(int fd) noexcept;  // not retried: after EINTR Linux has released the number, and another thread may own it
result getsockname(int fd, socket_address* out) noexcept;
result getpeername(int fd, socket_address* out) noexcept;
result set_option(int fd, int level, int name, int value) noexcept;
result get_option(int fd, int level, int name) noexcept;  // value: the option
result make_nonblocking(int fd) noexcept;                 // and close-on-exec

result epoll_create() noexcept;
result epoll_add(int ep, int fd, uint32_t events, uint64_t data) noexcept;
// timeout_ns < 0: no limit. EINTR: not retried. Nanosecond precision where the kernel has epoll_pwait2 (5.11), else rounded up to ms.
result epoll_wait(int ep, epoll_event* events, int capacity, int64_t timeout_ns) noexcept;
result eventfd() noexcept;

result signalfd(const sigset_t& set) noexcept;
result block_signals(const sigset_t& set) noexcept;  // adds to the calling thread's mask
result blocked_signals(sigset_t* out) noexcept;      // the calling thread's mask

uint64_t descriptor_limit() noexcept;  // RLIMIT_NOFILE, soft

// getaddrinfo for TCP. Blocks the thread. value: 0; error: an EAI_ code (EAI_SYSTEM: system_error holds errno).
struct lookup_result {
  std::vector<socket_address> addresses;
  int error = 0;
  int system_error = 0;
};
lookup_result lookup(const std::string& host, uint16_t port, bool passive);

}  // namespace warren::rt::sys

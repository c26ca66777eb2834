// The system calls netpoll makes, each with its result and its error in one value.
//
// (Those of the back ends: sys_epoll.h, sys_kqueue.h.)
//
// Why not errno: glibc declares __errno_location() const, so a compiler may keep errno's address in a register across a call that parks;
// the goroutine wakes on another thread and reads the first thread's errno. The functions below are compiled in files of their own
// and read errno next to the system call, on one thread; nothing else in netpoll reads it.
// All of them retry EINTR, except where said.
#pragma once
#include <netinet/in.h>
#include <signal.h>
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
result receive_message(int fd, msghdr* m) noexcept;
result send_message(int fd, const msghdr* m) noexcept;  // MSG_NOSIGNAL
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
result get_option(int fd, int level, int name) noexcept;                               // value: the option
result make_nonblocking(int fd) noexcept;                                              // and close-on-exec
result peer_credentials(int fd, int64_t* pid, uint32_t* uid, uint32_t* gid) noexcept;  // of a unix socket; pid 0: not told

// Files of unix sockets.
struct file_identity {
  uint64_t device = 0;
  uint64_t inode = 0;
};
result file_id(const char* path, file_identity* out) noexcept;  // of the file itself, not of what a link points to
bool is_socket_file(const char* path, file_identity* out) noexcept;
result chmod(const char* path, unsigned mode) noexcept;
result unlink(const char* path) noexcept;
// An exclusive lock on a directory, without waiting, held until the descriptor (value) is closed. EWOULDBLOCK: another has it. Other
// errors: the directory cannot be opened for reading, or its file system has no such locks.
result lock_directory(const char* path) noexcept;
void unlink_if_same(const char* path, const file_identity& id) noexcept;

result signalfd(const sigset_t& set) noexcept;       // Linux
result block_signals(const sigset_t& set) noexcept;  // adds to the calling thread's mask
result blocked_signals(sigset_t* out) noexcept;      // the calling thread's mask

result sigaction(int signal, const struct sigaction* set, struct sigaction* old) noexcept;
result pipe(int ends[2]) noexcept;  // non-blocking, close-on-exec

uint64_t descriptor_limit() noexcept;  // RLIMIT_NOFILE, soft

// getaddrinfo for TCP. Blocks the thread. value: 0; error: an EAI_ code (EAI_SYSTEM: system_error holds errno).
struct lookup_result {
  std::vector<socket_address> addresses;
  int error = 0;
  int system_error = 0;
};
lookup_result lookup(const std::string& host, uint16_t port, bool passive);

}  // namespace warren::rt::sys

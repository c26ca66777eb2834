// glibc's posix_spawn is what this needs: it makes the child share the memory until it execs (CLONE_VM | CLONE_VFORK: no copy of page
// tables, however large the heap), on a stack of its own, with all signals blocked meanwhile, and reports an exec that failed.
#include "netpoll/sys_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace warren::rt::sys {

namespace {
result of(ssize_t value) noexcept { return value < 0 ? result{-1, errno} : result{value, 0}; }
}  // namespace

result write_pipe(int fd, const iovec* v, int count) noexcept {
  // The signal of a broken pipe is for this thread: blocked, and if this write has raised it, taken back.
  sigset_t pipe_only, before, pending;
  sigemptyset(&pipe_only);
  sigaddset(&pipe_only, SIGPIPE);
  sigpending(&pending);
  const bool was_pending = sigismember(&pending, SIGPIPE) == 1;
  pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
  result r = of(writev(fd, v, count));
  if (r.error == EINTR) r.error = EAGAIN;
  if (r.error == EPIPE && !was_pending) {
    const timespec now{0, 0};
    while (sigtimedwait(&pipe_only, nullptr, &now) < 0 && errno == EINTR) {
    }
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return r;
}

result blocking_pipe(int ends[2]) noexcept { return of(pipe2(ends, O_CLOEXEC)); }
result copy_above_stdio(int fd) noexcept { return of(fcntl(fd, F_DUPFD_CLOEXEC, 3)); }

result open_null() noexcept {
  const int fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (fd < 0 || fd > 2) return of(fd);
  const result r = copy_above_stdio(fd);
  ::close(fd);
  return r;
}

result readable(int fd) noexcept {
  pollfd p{fd, POLLIN, 0};
  int n;
  do n = ::poll(&p, 1, 0);
  while (n < 0 && errno == EINTR);
  return n == 0 ? result{-1, EAGAIN} : of(n);
}

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

result pidfd_open(pid_t pid) noexcept { return of(syscall(SYS_pidfd_open, pid, O_NONBLOCK)); }  // PIDFD_NONBLOCK
result signal_process(pid_t pid, int signal) noexcept { return of(::kill(pid, signal)); }

result wait_child(pid_t pid, bool block, bool reap, child_end* out) noexcept {
  siginfo_t info{};
  int r;
  do r = waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | (block ? 0 : WNOHANG) | (reap ? 0 : WNOWAIT));
  while (r < 0 && errno == EINTR);
  if (r < 0) return of(r);
  if (info.si_pid == 0) return {-1, EAGAIN};
  out->code = info.si_code;
  out->status = info.si_status;
  return {0, 0};
}

result spawn(const spawn_request& request) noexcept {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  if (const int error = posix_spawn_file_actions_init(&files)) return {-1, error};
  if (const int error = posix_spawnattr_init(&attributes)) {
    posix_spawn_file_actions_destroy(&files);
    return {-1, error};
  }
  int error = 0;
  const auto also = [&error](int e) {
    if (error == 0) error = e;
  };
  for (int i = 0; i < 3; ++i)
    if (request.stdio[i] >= 0) also(posix_spawn_file_actions_adddup2(&files, request.stdio[i], i));
  also(posix_spawn_file_actions_addclosefrom_np(&files, 3));
  if (request.directory != nullptr) also(posix_spawn_file_actions_addchdir_np(&files, request.directory));
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  also(posix_spawnattr_setsigmask(&attributes, &none));
  also(posix_spawnattr_setsigdefault(&attributes, &all));
  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (request.new_group) {
    flags |= POSIX_SPAWN_SETPGROUP;
    also(posix_spawnattr_setpgroup(&attributes, 0));
  }
  also(posix_spawnattr_setflags(&attributes, flags));
  pid_t pid = -1;
  if (error == 0) error = posix_spawnp(&pid, request.program, &files, &attributes, request.arguments, request.environment);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  return error != 0 ? result{-1, error} : result{pid, 0};
}

}  // namespace warren::rt::sys

// The system calls of child processes, each with its result and its error in one value: as netpoll/sys.h.
#pragma once
#include <sys/uio.h>

#include "netpoll/sys.h"

namespace warren::rt::sys {

// Not retried and without SIGPIPE: a broken pipe is EPIPE. The caller's signal mask is as before.
result write_pipe(int fd, const iovec* v, int count) noexcept;
result blocking_pipe(int ends[2]) noexcept;  // close-on-exec
result copy_above_stdio(int fd) noexcept;    // a close-on-exec copy numbered 3 or more
result open_null() noexcept;                 // /dev/null, numbered 3 or more
result readable(int fd) noexcept;            // 1, or EAGAIN when a read would have to wait
result pidfd_open(pid_t pid) noexcept;       // non-blocking
result signal_process(pid_t pid, int signal) noexcept;

// Has the child ended? EAGAIN when not and block is false. Leaves it to be reaped unless reap.
struct child_end {
  int code = 0;    // si_code
  int status = 0;  // si_status
};
result wait_child(pid_t pid, bool block, bool reap, child_end* out) noexcept;

// posix_spawn as process_options wants it: in, out, err are descriptors numbered 3 or more that become 0, 1, 2, or -1 to inherit. value:
// pid.
struct spawn_request {
  const char* program;
  char* const* arguments;
  char* const* environment;
  const char* directory;  // nullptr: the program's own
  int stdio[3];
  bool new_group;
};
result spawn(const spawn_request& request) noexcept;

}  // namespace warren::rt::sys

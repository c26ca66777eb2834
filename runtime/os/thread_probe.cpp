#include "runtime/os/thread_probe.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace warren::rt {

clockid_t own_cpu_clock() noexcept {
  clockid_t clock = CLOCK_THREAD_CPUTIME_ID;
  pthread_getcpuclockid(pthread_self(), &clock);
  return clock;
}

int64_t read_cpu_clock(clockid_t clock) noexcept {
  timespec ts;
  if (clock_gettime(clock, &ts) != 0) return -1;
  return int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
}

namespace {
// Reads the beginning of /proc/self/task/TID/NAME into buf, zero-terminated. Returns the length, 0 on any error.
size_t read_task_file(pid_t tid, const char* name, char* buf, size_t n) noexcept {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/%s", tid, name);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t got = read(fd, buf, n - 1);
  close(fd);
  buf[got > 0 ? got : 0] = '\0';
  return got > 0 ? static_cast<size_t>(got) : 0;
}

struct name_of_call {
  long number;
  const char* name;
};

// Calls in which a thread can sleep. Older architectures have some that newer ones lack.
constexpr name_of_call kCalls[] = {
    {SYS_accept, "accept"},
    {SYS_accept4, "accept4"},
    {SYS_clock_nanosleep, "clock_nanosleep"},
    {SYS_close, "close"},
    {SYS_connect, "connect"},
    {SYS_epoll_pwait, "epoll_pwait"},
    {SYS_fallocate, "fallocate"},
    {SYS_fcntl, "fcntl"},
    {SYS_fdatasync, "fdatasync"},
    {SYS_flock, "flock"},
    {SYS_fsync, "fsync"},
    {SYS_ftruncate, "ftruncate"},
    {SYS_futex, "futex"},
    {SYS_getdents64, "getdents64"},
    {SYS_getrandom, "getrandom"},
    {SYS_io_getevents, "io_getevents"},
    {SYS_ioctl, "ioctl"},
    {SYS_mq_timedreceive, "mq_timedreceive"},
    {SYS_mq_timedsend, "mq_timedsend"},
    {SYS_msgrcv, "msgrcv"},
    {SYS_msgsnd, "msgsnd"},
    {SYS_msync, "msync"},
    {SYS_nanosleep, "nanosleep"},
    {SYS_openat, "openat"},
    {SYS_ppoll, "ppoll"},
    {SYS_pread64, "pread64"},
    {SYS_preadv, "preadv"},
    {SYS_pselect6, "pselect6"},
    {SYS_pwrite64, "pwrite64"},
    {SYS_pwritev, "pwritev"},
    {SYS_read, "read"},
    {SYS_readv, "readv"},
    {SYS_recvfrom, "recvfrom"},
    {SYS_recvmmsg, "recvmmsg"},
    {SYS_recvmsg, "recvmsg"},
    {SYS_renameat, "renameat"},
    {SYS_rt_sigsuspend, "rt_sigsuspend"},
    {SYS_rt_sigtimedwait, "rt_sigtimedwait"},
    {SYS_semop, "semop"},
    {SYS_semtimedop, "semtimedop"},
    {SYS_sendfile, "sendfile"},
    {SYS_sendmmsg, "sendmmsg"},
    {SYS_sendmsg, "sendmsg"},
    {SYS_sendto, "sendto"},
    {SYS_splice, "splice"},
    {SYS_sync, "sync"},
    {SYS_syncfs, "syncfs"},
    {SYS_unlinkat, "unlinkat"},
    {SYS_wait4, "wait4"},
    {SYS_waitid, "waitid"},
    {SYS_write, "write"},
    {SYS_writev, "writev"},
#ifdef SYS_epoll_wait
    {SYS_epoll_wait, "epoll_wait"},
#endif
#ifdef SYS_open
    {SYS_open, "open"},
#endif
#ifdef SYS_pause
    {SYS_pause, "pause"},
#endif
#ifdef SYS_poll
    {SYS_poll, "poll"},
#endif
#ifdef SYS_rename
    {SYS_rename, "rename"},
#endif
#ifdef SYS_select
    {SYS_select, "select"},
#endif
#ifdef SYS_unlink
    {SYS_unlink, "unlink"},
#endif
#ifdef SYS_vfork
    {SYS_vfork, "vfork"},
#endif
};
}  // namespace

kernel_state read_kernel_state(pid_t tid) noexcept {
  char text[256];
  if (read_task_file(tid, "stat", text, sizeof text) == 0) return kernel_state::unknown;
  // "TID (name) S …": the name may hold anything, parentheses included; the state follows the last one. Names have at most 15 bytes.
  const char* close = strrchr(text, ')');
  if (close == nullptr || close[1] != ' ') return kernel_state::unknown;
  switch (close[2]) {
    case 'R': return kernel_state::running;
    case 'S':
    case 'D': return kernel_state::blocked;
    default: return kernel_state::unknown;
  }
}

long read_system_call(pid_t tid) noexcept {
  char text[256];
  if (read_task_file(tid, "syscall", text, sizeof text) == 0) return -1;
  char* end;
  const long number = strtol(text, &end, 10);  // "running" is no number
  return end == text ? -1 : number;
}

const char* system_call_name(long number, char* buf, size_t n) noexcept {
  for (const name_of_call& c : kCalls)
    if (c.number == number) return c.name;
  if (number < 0) {
    snprintf(buf, n, "a system call");
  } else {
    snprintf(buf, n, "system call %ld", number);
  }
  return buf;
}

}  // namespace warren::rt

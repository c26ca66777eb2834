// What the kernel says of another thread of this process: how much it has computed, whether it sleeps, and in which system call.
#pragma once
#include <sys/types.h>
#include <time.h>

#include <cstddef>
#include <cstdint>

namespace warren::rt {

// The clock of the calling thread's CPU time, readable from other threads while this one lives.
clockid_t own_cpu_clock() noexcept;

// ns of CPU time; -1 when the thread has gone. About 0.6 µs.
int64_t read_cpu_clock(clockid_t clock) noexcept;

enum class kernel_state : uint8_t {
  unknown,  // no /proc, or the thread has gone
  running,  // on a processor or waiting for one
  blocked,  // asleep in the kernel, interruptible or not
};
// Reads /proc/self/task/TID/stat: about 5 µs. Allocates nothing.
kernel_state read_kernel_state(pid_t tid) noexcept;

// The number of the system call the thread sleeps in; -1 when it is in none or the kernel does not tell (/proc/…/syscall needs the right
// to trace oneself, which hardened systems refuse).
long read_system_call(pid_t tid) noexcept;

// "futex", "clock_nanosleep", …: those that can block. Others as "system call 123" in buf.
const char* system_call_name(long number, char* buf, size_t n) noexcept;

}  // namespace warren::rt

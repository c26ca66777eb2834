// The system calls of the kqueue back end, as netpoll/sys.h explains.
#pragma once
// clang-format off
#include <sys/types.h>
#include <sys/event.h>
// clang-format on

#include "netpoll/sys.h"

namespace warren::rt::sys {

result kqueue() noexcept;  // close-on-exec
// EINTR: not retried. timeout_ns < 0: no limit; 0: does not wait.
result kevent(int kq, const struct kevent* changes, int change_count, struct kevent* events, int capacity, int64_t timeout_ns) noexcept;
result pipe(int ends[2]) noexcept;  // non-blocking, close-on-exec

}  // namespace warren::rt::sys

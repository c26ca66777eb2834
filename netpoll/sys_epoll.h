// The system calls of the epoll back end.
#pragma once
#include <sys/epoll.h>

#include "netpoll/sys.h"

namespace warren::rt::sys {

result epoll_create() noexcept;
result epoll_add(int ep, int fd, uint32_t events, uint64_t data) noexcept;
// timeout_ns < 0: no limit. EINTR: not retried. Nanosecond precision where the kernel has epoll_pwait2 (5.11), else rounded up to ms.
result epoll_wait(int ep, epoll_event* events, int capacity, int64_t timeout_ns) noexcept;
result eventfd() noexcept;

}  // namespace warren::rt::sys

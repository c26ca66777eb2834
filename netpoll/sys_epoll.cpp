#include "netpoll/sys_epoll.h"

#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "netpoll/sys_call.h"

namespace warren::rt::sys {

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

}  // namespace warren::rt::sys

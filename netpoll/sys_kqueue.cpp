#include "netpoll/sys_kqueue.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "netpoll/sys_call.h"

namespace warren::rt::sys {

result kqueue() noexcept {
  const result r = once([] { return ::kqueue(); });
  // FreeBSD and the others: never inherited by a child. macOS and libraries: is.
  if (r.ok()) ::fcntl(static_cast<int>(r.value), F_SETFD, FD_CLOEXEC);
  return r;
}

result kevent(int kq, const struct kevent* changes, int change_count, struct kevent* events, int capacity, int64_t timeout_ns) noexcept {
  struct timespec ts {};
  if (timeout_ns > 0) {
    ts.tv_sec = static_cast<time_t>(timeout_ns / 1'000'000'000);
    ts.tv_nsec = static_cast<long>(timeout_ns % 1'000'000'000);
    // macOS refuses more than some 3 years' seconds; the caller computes the delay anew when it returns.
    constexpr time_t kLongest = 1'000'000;
    if (ts.tv_sec > kLongest) ts.tv_sec = kLongest;
  }
  return once([&] { return ::kevent(kq, changes, change_count, events, capacity, timeout_ns < 0 ? nullptr : &ts); });
}

result pipe(int ends[2]) noexcept {
  result r = once([&] { return ::pipe(ends); });
  for (int i = 0; r.ok() && i < 2; ++i) {
    r = make_nonblocking(ends[i]);
    if (r.ok()) continue;
    close(ends[0]);
    close(ends[1]);
  }
  return r;
}

}  // namespace warren::rt::sys

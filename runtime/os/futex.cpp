#include "runtime/os/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "runtime/os/clock.h"

namespace warren::rt {

#ifdef WARREN_SIGNALS_KEPT_BACK
// ThreadSanitizer keeps an asynchronous signal back until the thread's next call that it intercepts, unless that thread is inside one that
// it knows to block. It does not know this one: a signal sent to a thread asleep here would come when something else wakes it, if ever. So
// under it every sleep is short, and followed by a call that it intercepts. (To return early is every caller's business anyway. The
// interleaving checker instruments with the same flag, but is no such runtime: the build says which it is.)
constexpr int64_t kSanitizerSleep = 20'000'000;
#endif

void futex_wait(std::atomic<uint32_t>* word, uint32_t expected, int64_t timeout_ns) noexcept {
#ifdef WARREN_SIGNALS_KEPT_BACK
  if (timeout_ns < 0 || timeout_ns > kSanitizerSleep) timeout_ns = kSanitizerSleep;
#endif
  timespec ts;
  timespec* timeout = nullptr;
  if (timeout_ns >= 0) {
    ts.tv_sec = timeout_ns / 1'000'000'000;
    ts.tv_nsec = timeout_ns % 1'000'000'000;
    timeout = &ts;
  }
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout, nullptr, 0);
#ifdef WARREN_SIGNALS_KEPT_BACK
  usleep(0);
#endif
}

void futex_wake(std::atomic<uint32_t>* word, int count) noexcept {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

bool note::sleep(int64_t timeout_ns) noexcept {
  if (timeout_ns < 0) {
    while (word_.load(std::memory_order_acquire) == 0) futex_wait(&word_, 0);
    return true;
  }
  const int64_t deadline = nanotime() + timeout_ns;
  while (word_.load(std::memory_order_acquire) == 0) {
    const int64_t left = deadline - nanotime();
    if (left <= 0) return false;
    futex_wait(&word_, 0, left);
  }
  return true;
}

}  // namespace warren::rt

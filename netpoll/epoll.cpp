// epoll, armed once.
//
// Each descriptor is added for EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET and never touched again. A park therefore costs no system call of
// its own: the price is that an edge may come when nobody waits, and has to be remembered (poll_desc's word `ready`). Rejected:
// EPOLLONESHOT, which needs an epoll_ctl per park; level-triggered, which reports a writable socket for ever.
//
// wake(): the eventfd is level-triggered and only a blocking poll reads it. A non-blocking poll that happens to see it must leave it alone,
// or the blocking one would sleep on. wake_pending_ keeps a storm of wake() calls at one write(2): between the write and the moment the
// poll clears the flag the poll is bound to return, which is all that any of them wants. The flag is cleared after the read: the other way
// round a wake() between the two would write, have its count consumed by the read, and leave the flag set with nothing in flight; every
// later wake() would be swallowed.
#include "netpoll/epoll.h"

#include <string.h>

#include <new>

#include "netpoll/poll_desc.h"
#include "netpoll/sys_epoll.h"
#include "runtime/os/fatal.h"

namespace warren::rt {

namespace {
constexpr int kEventsPerCall = 128;     // as Go: 1.5 KiB of the scheduler's stack; the rest comes with the next call
constexpr uint64_t kWakeToken = ~0ull;  // no poll_desc has it: their indices end below 2^32 - 1

constexpr uint32_t kReadable = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
constexpr uint32_t kWritable = EPOLLOUT | EPOLLHUP | EPOLLERR;
constexpr uint32_t kEnded = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
}  // namespace

epoll_poller* epoll_poller::make(int* error) noexcept {
  const sys::result ep = sys::epoll_create();
  if (!ep.ok()) {
    *error = ep.error;
    return nullptr;
  }
  const sys::result event = sys::eventfd();
  if (!event.ok()) {
    *error = event.error;
    sys::close(static_cast<int>(ep.value));
    return nullptr;
  }
  const sys::result added = sys::epoll_add(static_cast<int>(ep.value), static_cast<int>(event.value), EPOLLIN, kWakeToken);
  epoll_poller* p = added.ok() ? new (std::nothrow) epoll_poller(static_cast<int>(ep.value), static_cast<int>(event.value)) : nullptr;
  if (p == nullptr) {
    *error = added.ok() ? ENOMEM : added.error;
    sys::close(static_cast<int>(event.value));
    sys::close(static_cast<int>(ep.value));
  }
  return p;
}

epoll_poller::~epoll_poller() {
  sys::close(event_fd_);
  sys::close(epoll_fd_);
}

int epoll_poller::add(int fd, uint64_t token) noexcept {
  return sys::epoll_add(epoll_fd_, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, token).error;
}

runnable_list epoll_poller::poll(int64_t delay_ns) {
  epoll_event events[kEventsPerCall];
  sys::result r;
  for (;;) {
    r = sys::epoll_wait(epoll_fd_, events, kEventsPerCall, delay_ns);
    if (r.ok()) break;
    if (r.error != EINTR) {
      fatal("epoll_wait on descriptor %d: error %d (%s); the poller's descriptor was closed by somebody else?", epoll_fd_, r.error,
            strerror(r.error));
    }
    if (delay_ns > 0) return {};  // the caller knows how much of its time is left
  }
  polls_.fetch_add(1, std::memory_order_relaxed);
  return deliver(events, static_cast<int>(r.value), delay_ns != 0);
}

runnable_list epoll_poller::deliver(const epoll_event* events, int count, bool blocking) noexcept {
  runnable_list ready;
  uint64_t received = 0, stale = 0;
  for (int i = 0; i < count; ++i) {
    const uint32_t what = events[i].events;
    const uint64_t token = events[i].data.u64;
    if (token == kWakeToken) {
      if (blocking) {
        uint64_t n;
        sys::read(event_fd_, &n, sizeof n);
        wake_pending_.store(0, std::memory_order_release);
        wakes_.fetch_add(1, std::memory_order_relaxed);
      }
      continue;
    }
    ++received;
    poll_desc* pd = poll_desc::of_token(token);
    const uint8_t sides = static_cast<uint8_t>(((what & kReadable) != 0 ? kReadSide : 0) | ((what & kWritable) != 0 ? kWriteSide : 0));
    if (pd == nullptr || !pd->on_event(token, sides, (what & kEnded) != 0, ready)) ++stale;
  }
  if (received != 0) events_.fetch_add(received, std::memory_order_relaxed);
  if (stale != 0) stale_.fetch_add(stale, std::memory_order_relaxed);
  if (ready.size != 0) add_waiters(-static_cast<int64_t>(ready.size));
  return ready;
}

void epoll_poller::wake() {
  uint32_t none = 0;
  if (!wake_pending_.compare_exchange_strong(none, 1, std::memory_order_acq_rel)) return;
  const uint64_t one = 1;
  const sys::result r = sys::write(event_fd_, &one, sizeof one);
  if (!r.ok() && r.error != EAGAIN) fatal("waking the poller: eventfd %d: error %d (%s)", event_fd_, r.error, strerror(r.error));
}

poller::statistics epoll_poller::stats() const noexcept {
  return statistics{polls_.load(std::memory_order_relaxed), events_.load(std::memory_order_relaxed), stale_.load(std::memory_order_relaxed),
                    wakes_.load(std::memory_order_relaxed)};
}

}  // namespace warren::rt

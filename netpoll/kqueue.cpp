// kqueue, armed once.
//
// Each descriptor gets two filters, EVFILT_READ and EVFILT_WRITE with EV_CLEAR, by one kevent(2) when it is opened. EV_CLEAR is the
// edge-triggered mode: an event is reported when the state changes, and then not again. As with epoll the edge may come when nobody waits
// and is remembered in the poll_desc's word (epoll.cpp says what was rejected).
//
// udata carries the token, index and generation of the poll_desc: an event that was collected before its descriptor was closed and its
// number reused names the old generation and is dropped. (A pointer there would need two tag bits for the same, as in Go.) A 64-bit token
// in a void*: this back end is for 64-bit systems.
//
// What ends a stream. EV_EOF on the read filter: the peer has sent its last byte, maybe with data before it. Like EPOLLRDHUP it sets
// poll_desc's `ended`. EV_EOF on the write filter: nobody reads any more; whoever waits for either side has to look. A failed connect
// reports EV_EOF on both, with the error in fflags; finish_connect asks SO_ERROR as it does after epoll.
//
// wake(): a byte in a pipe, level-triggered, read by a blocking poll only; the essay in epoll.cpp on the eventfd holds word for word.
// Rejected: EVFILT_USER, which not every kqueue has (OpenBSD before 7.8, libraries of old), and whose EV_CLEAR mode would let a
// non-blocking poll eat the wake-up of the blocking one.
//
// Closing. A BSD kernel removes the filters of a descriptor when it is closed. A library on top of epoll cannot notice: libkqueue keeps its
// knote (its issue 58), takes the next EV_ADD for the same number for a change of the old one, and may report nothing for it. So where
// kqueue is a library (Linux) the filters are deleted before each close, for one system call or two per connection; on a BSD `closing` does
// nothing. Such a library also serialises kevent calls with a lock of its own, and may have threads: they are its own business, no
// goroutine runs on them. A blocking poll must be woken for every added descriptor if the library computes its set on entry; those known do
// not.
#include "netpoll/kqueue.h"

#include <errno.h>
#include <string.h>

#include <new>

#include "netpoll/poll_desc.h"
#include "runtime/os/fatal.h"

namespace warren::rt {

static_assert(sizeof(void*) == 8, "netpoll/kqueue.cpp keeps a 64-bit token in udata; 32-bit systems need a table from index to generation");

namespace {

constexpr int kEventsPerCall = 64;      // 4 KiB of the scheduler's stack on FreeBSD, whose kevent has 64 bytes
constexpr uint64_t kWakeToken = ~0ull;  // no poll_desc has it: their indices end below 2^32 - 1

void fill(struct kevent* e, int fd, short filter, unsigned short flags, uint64_t token) noexcept {
  memset(e, 0, sizeof *e);
  e->ident = static_cast<decltype(e->ident)>(fd);
  e->filter = filter;
  e->flags = flags;
  // NetBSD had intptr_t here until 10, the others void*.
  static_assert(sizeof e->udata == sizeof token);
  memcpy(&e->udata, &token, sizeof token);
}

uint64_t token_of(const struct kevent& e) noexcept {
  uint64_t token;
  memcpy(&token, &e.udata, sizeof token);
  return token;
}

}  // namespace

kqueue_poller* kqueue_poller::make(int* error) noexcept {
  const sys::result kq = sys::kqueue();
  if (!kq.ok()) {
    *error = kq.error;
    return nullptr;
  }
  const int k = static_cast<int>(kq.value);
  int ends[2];
  const sys::result made = sys::pipe(ends);
  if (!made.ok()) {
    *error = made.error;
    sys::close(k);
    return nullptr;
  }
  struct kevent wake;
  fill(&wake, ends[0], EVFILT_READ, EV_ADD, kWakeToken);
  const sys::result added = sys::kevent(k, &wake, 1, nullptr, 0, 0);
  kqueue_poller* p = added.ok() ? new (std::nothrow) kqueue_poller(k, ends) : nullptr;
  if (p == nullptr) {
    *error = added.ok() ? ENOMEM : added.error;
    sys::close(ends[0]);
    sys::close(ends[1]);
    sys::close(k);
  }
  return p;
}

kqueue_poller::~kqueue_poller() {
  sys::close(wake_write_);
  sys::close(wake_read_);
  sys::close(kqueue_);
}

int kqueue_poller::add(int fd, uint64_t token) noexcept {
  struct kevent changes[2];
  fill(&changes[0], fd, EVFILT_READ, EV_ADD | EV_CLEAR, token);
  fill(&changes[1], fd, EVFILT_WRITE, EV_ADD | EV_CLEAR, token);
  // No room for events: a change that fails is the call's error.
  for (;;) {
    const sys::result r = sys::kevent(kqueue_, changes, 2, nullptr, 0, 0);
    if (r.error != EINTR) return r.error;  // interrupted: every change has been made; making it again does no harm
  }
}

void kqueue_poller::closing([[maybe_unused]] int fd) noexcept {
#ifdef __linux__
  for (const short filter : {EVFILT_READ, EVFILT_WRITE}) {  // one at a time: the first to fail would keep the second from being made
    struct kevent change;
    fill(&change, fd, filter, EV_DELETE, 0);
    sys::kevent(kqueue_, &change, 1, nullptr, 0, 0);
  }
#endif
}

runnable_list kqueue_poller::poll(int64_t delay_ns) {
  struct kevent events[kEventsPerCall];
  sys::result r;
  for (;;) {
    r = sys::kevent(kqueue_, nullptr, 0, events, kEventsPerCall, delay_ns);
    if (r.ok()) break;
    if (r.error != EINTR) {
      fatal("kevent on descriptor %d: error %d (%s); the poller's descriptor was closed by somebody else?", kqueue_, r.error,
            strerror(r.error));
    }
    if (delay_ns > 0) return {};  // the caller knows how much of its time is left
  }
  polls_.fetch_add(1, std::memory_order_relaxed);
  return deliver(events, static_cast<int>(r.value), delay_ns != 0);
}

runnable_list kqueue_poller::deliver(const struct kevent* events, int count, bool blocking) noexcept {
  runnable_list ready;
  uint64_t received = 0, stale = 0;
  for (int i = 0; i < count; ++i) {
    const struct kevent& e = events[i];
    const uint64_t token = token_of(e);
    if (token == kWakeToken) {
      if (blocking) {
        char bytes[16];
        while (sys::read(wake_read_, bytes, sizeof bytes).value == static_cast<ssize_t>(sizeof bytes)) {
        }
        wake_pending_.store(0, std::memory_order_release);
        wakes_.fetch_add(1, std::memory_order_relaxed);
      }
      continue;
    }
    ++received;
    const bool ended = (e.flags & (EV_EOF | EV_ERROR)) != 0;
    uint8_t sides = e.filter == EVFILT_WRITE ? kWriteSide : kReadSide;
    // A connection that is broken is so for both. The end of what the peer sends (EV_EOF on the read filter) is not.
    if ((e.flags & EV_ERROR) != 0 || (ended && (e.filter == EVFILT_WRITE || e.fflags != 0))) sides = kReadSide | kWriteSide;
    poll_desc* pd = poll_desc::of_token(token);
    if (pd == nullptr || !pd->on_event(token, sides, ended, ready)) ++stale;
  }
  if (received != 0) events_.fetch_add(received, std::memory_order_relaxed);
  if (stale != 0) stale_.fetch_add(stale, std::memory_order_relaxed);
  if (ready.size != 0) add_waiters(-static_cast<int64_t>(ready.size));
  return ready;
}

void kqueue_poller::wake() {
  uint32_t none = 0;
  if (!wake_pending_.compare_exchange_strong(none, 1, std::memory_order_acq_rel)) return;
  const char byte = 'w';
  const sys::result r = sys::write(wake_write_, &byte, 1);
  if (!r.ok() && r.error != EAGAIN) fatal("waking the poller: pipe %d: error %d (%s)", wake_write_, r.error, strerror(r.error));
}

poller::statistics kqueue_poller::stats() const noexcept {
  return statistics{polls_.load(std::memory_order_relaxed), events_.load(std::memory_order_relaxed), stale_.load(std::memory_order_relaxed),
                    wakes_.load(std::memory_order_relaxed)};
}

}  // namespace warren::rt

// What the tests of netpoll share: a connected pair, and waiting for states instead of times.
#pragma once
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <utility>

#include "netpoll/fd.h"
#include "netpoll/poller.h"
#include "runtime/sched/park.h"
#include "warren/go.h"
#include "warren/net.h"

namespace warren::rt {
struct fd_test {
  static poll_desc* desc(fd* f) { return f->pd_; }
};
}  // namespace warren::rt

namespace warren::net_test {

using asio::error_code;

struct pair {
  tcp_conn a, b;
};

// Two ends of one TCP connection over loopback.
inline pair connected() {
  tcp_listener l = listen("127.0.0.1:0");
  pair p;
  p.a = dial(l.local_endpoint());
  p.b = l.accept();
  return p;
}

// Yields until n goroutines are parked in the poller. (Tests that count have nobody else there.)
inline void until_parked(int64_t n) {
  int error = 0;
  rt::poller* p = rt::poller::get(&error);
  ASSERT_NE(p, nullptr) << "errno " << error;
  while (p->waiters() < n) yield();
}

// A counter that goroutines wait for without sleeping.
struct latch {
  std::atomic<int> count;
  explicit latch(int n) : count(n) {}
  void done() { count.fetch_sub(1, std::memory_order_release); }
  void wait() {
    while (count.load(std::memory_order_acquire) > 0) yield();
  }
};

// Runs f on a goroutine and lets the caller wait for its end.
class task {
 public:
  template <class F>
  explicit task(F f) {
    warren::go([this, f = std::move(f)]() mutable {
      f();
      done_.store(true, std::memory_order_release);
    });
  }
  void join() {
    while (!done_.load(std::memory_order_acquire)) yield();
  }
  bool finished() const { return done_.load(std::memory_order_acquire); }
  ~task() { join(); }
  task(const task&) = delete;
  task& operator=(const task&) = delete;

 private:
  std::atomic<bool> done_{false};
};

// A non-blocking socket pair: one end as rt::fd, the other raw.
struct half_raw {
  rt::fd* f = nullptr;
  int raw = -1;
  half_raw() {
    int s[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, s), 0);
    error_code ec;
    f = rt::fd::open(s[0], ec);
    EXPECT_FALSE(ec) << ec.message();
    raw = s[1];
  }
  rt::poll_desc* desc() const { return rt::fd_test::desc(f); }
  void put(char c) const { EXPECT_EQ(::send(raw, &c, 1, MSG_NOSIGNAL), 1); }
  void release() {
    if (f != nullptr) f->release();
    f = nullptr;
  }
  ~half_raw() {
    release();
    if (raw >= 0) ::close(raw);
  }
  half_raw(const half_raw&) = delete;
  half_raw& operator=(const half_raw&) = delete;
};

// Collects the events that are there and readies who waits, as the scheduler would. Returns how many goroutines that were.
inline uint32_t poll_now() {
  rt::runnable_list l = rt::poller::made().poll(0);
  const uint32_t n = l.size;
  while (rt::runnable* r = l.pop()) rt::ready(r);
  return n;
}

}  // namespace warren::net_test

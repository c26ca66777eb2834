// The back end that this build has, epoll or kqueue: the same promises.
#include <fcntl.h>

#include <memory>
#include <vector>

#include "net_test.h"
#include "netpoll/back_end.h"

namespace warren::net_test {
namespace {

std::unique_ptr<rt::back_end> make() {
  int error = 0;
  std::unique_ptr<rt::back_end> p(rt::back_end::make(&error));
  EXPECT_EQ(error, 0);
  return p;
}

TEST(poller, poll_without_events_returns_at_once) {
  const auto p = make();
  EXPECT_TRUE(p->poll(0).empty());
  EXPECT_TRUE(p->poll(1000).empty());  // less than a millisecond
  EXPECT_TRUE(p->poll(2'000'000).empty());
}

TEST(poller, wake_ends_a_blocking_poll) {
  const auto p = make();
  std::thread waker([&] { p->wake(); });
  EXPECT_TRUE(p->poll(-1).empty());
  waker.join();
  EXPECT_EQ(p->stats().wakes, 1u);
}

TEST(poller, wake_before_poll_counts) {
  const auto p = make();
  p->wake();
  EXPECT_TRUE(p->poll(-1).empty());
}

TEST(poller, wakes_coalesce) {
  const auto p = make();
  for (int i = 0; i < 1000; ++i) p->wake();
  EXPECT_TRUE(p->poll(-1).empty());
  EXPECT_EQ(p->stats().wakes, 1u);
  p->wake();  // the flag was cleared: this one arrives as well
  EXPECT_TRUE(p->poll(-1).empty());
  EXPECT_EQ(p->stats().wakes, 2u);
}

TEST(poller, non_blocking_poll_leaves_the_wake_to_the_blocking_one) {
  const auto p = make();
  p->wake();
  EXPECT_TRUE(p->poll(0).empty());
  EXPECT_TRUE(p->poll(0).empty());
  EXPECT_EQ(p->stats().wakes, 0u);
  EXPECT_TRUE(p->poll(-1).empty());
  EXPECT_EQ(p->stats().wakes, 1u);
}

TEST(poller, wake_and_poll_from_many_threads) {
  const auto p = make();
  std::atomic<bool> stop{false};
  std::vector<std::thread> wakers;
  for (int t = 0; t < 2; ++t)
    wakers.emplace_back([&] {
      while (!stop) p->wake();
    });
  for (int i = 0; i < 5000; ++i) p->poll(-1);  // a lost wake would hang here
  stop = true;
  for (auto& t : wakers) t.join();
}

TEST(poller, more_events_than_fit_one_call_all_arrive) {
  warren::run([] {
    constexpr int kCount = 300;  // 128 fit
    std::vector<std::unique_ptr<half_raw>> all;
    for (int i = 0; i < kCount; ++i) all.push_back(std::make_unique<half_raw>());
    latch readers(kCount);
    for (auto& h : all) {
      warren::go([&] {
        error_code ec;
        char c = 0;
        h->f->recv(&c, 1, rt::park_mode::once, ec);
        EXPECT_EQ(c, 'q');
        readers.done();
      });
    }
    until_parked(kCount);
    for (auto& h : all) h->put('q');
    readers.wait();
    EXPECT_EQ(rt::poller::made().waiters(), 0);
  });
}

TEST(poller, other_descriptors_than_sockets) {
  warren::run([] {
    int p[2];
    ASSERT_EQ(::pipe2(p, O_NONBLOCK | O_CLOEXEC), 0);
    error_code ec;
    rt::fd* f = rt::fd::open(p[0], ec);
    ASSERT_FALSE(ec);
    char got[8] = {};
    size_t n = 0;
    {
      task reader([&] { n = f->read(got, sizeof got, ec); });
      until_parked(1);
      ASSERT_EQ(::write(p[1], "pipe", 4), 4);
    }
    EXPECT_EQ(std::string(got, n), "pipe");
    ::close(p[1]);
    EXPECT_EQ(f->read(got, sizeof got, ec), 0u);
    EXPECT_EQ(ec, asio::error::eof);
    f->release();
  });
}

#ifndef WARREN_NETPOLL_KQUEUE  // a kqueue polls files too: they are always ready
TEST(poller, a_file_cannot_be_polled) {
  warren::run([] {
    const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    ASSERT_GE(file, 0);
    error_code ec;
    EXPECT_EQ(rt::fd::open(file, ec), nullptr);
    EXPECT_EQ(ec, error_code(EPERM, asio::system_category()));
    EXPECT_EQ(::fcntl(file, F_GETFD), -1) << "closed on failure";
  });
}
#endif

}  // namespace
}  // namespace warren::net_test

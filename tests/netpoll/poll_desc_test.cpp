// poll_desc: the races between a goroutine about to park and whoever wakes it, each forced by a hook at the named point.
#include "netpoll/poll_desc.h"

#include <fcntl.h>
#include <string.h>

#include <functional>
#include <random>

#include "net_test.h"
#include "netpoll/back_end.h"
#include "runtime/os/clock.h"

namespace warren::rt {
struct poll_desc_test {
  static uintptr_t read_word(const poll_desc* pd) { return pd->read_.word.load(); }
  static bool closing(const poll_desc* pd) { return (pd->state_.load() & poll_desc::kClosing) != 0; }
};
}  // namespace warren::rt

namespace warren::net_test {
namespace {

using rt::park_mode;
using rt::poll_desc;
using rt::poll_point;

constexpr int64_t kHour = 3'600'000'000'000;

// Runs an action the first time the given point is reached (for pd, if one is given). Uninstalls itself at the end of the scope.
class hook_at {
 public:
  hook_at(poll_point where, std::function<void(poll_desc*)> action, const poll_desc* only = nullptr)
      : where_(where), only_(only), action_(std::move(action)) {
    current_.store(this);
    rt::poll_test_hook.store(&called);
  }
  ~hook_at() {
    rt::poll_test_hook.store(nullptr);
    current_.store(nullptr);
  }
  bool reached() const { return reached_.load(); }
  int visits() const { return visits_.load(); }

 private:
  static void called(poll_point where, poll_desc* pd) {
    hook_at* self = current_.load();
    if (self == nullptr || where != self->where_ || (self->only_ != nullptr && pd != self->only_)) return;
    self->visits_.fetch_add(1);
    if (!self->reached_.exchange(true)) self->action_(pd);
  }
  static inline std::atomic<hook_at*> current_{nullptr};
  const poll_point where_;
  const poll_desc* const only_;
  const std::function<void(poll_desc*)> action_;
  std::atomic<bool> reached_{false};
  std::atomic<int> visits_{0};
};

// Delivers an event of that kind as the poller would, and readies who waited.
constexpr unsigned kData = 1, kRoom = 2, kEnd = 4, kBroken = 8;
uint32_t deliver(uint64_t token, unsigned what) {
#ifdef WARREN_NETPOLL_KQUEUE
  struct kevent events[2]{};
  int count = 0;
  const auto add = [&](short filter) {
    struct kevent& e = events[count++];
    e.filter = filter;
    e.flags = static_cast<unsigned short>(EV_CLEAR | ((what & (kEnd | kBroken)) != 0 ? EV_EOF : 0));
    memcpy(&e.udata, &token, sizeof token);
  };
  if ((what & kData) != 0) add(EVFILT_READ);
  if ((what & kRoom) != 0) add(EVFILT_WRITE);
  rt::runnable_list l = static_cast<rt::back_end&>(rt::poller::made()).deliver(events, count, false);
#else
  epoll_event ev{};
  ev.events = ((what & kData) != 0 ? EPOLLIN : 0u) | ((what & kRoom) != 0 ? EPOLLOUT : 0u) | ((what & kEnd) != 0 ? EPOLLRDHUP : 0u) |
              ((what & kBroken) != 0 ? EPOLLHUP | EPOLLERR : 0u);
  ev.data.u64 = token;
  rt::runnable_list l = static_cast<rt::back_end&>(rt::poller::made()).deliver(&ev, 1, false);
#endif
  const uint32_t n = l.size;
  while (rt::runnable* r = l.pop()) rt::ready(r);
  return n;
}

char read_byte(rt::fd* f, error_code& ec) {
  char c = 0;
  f->recv(&c, 1, park_mode::once, ec);
  return c;
}

TEST(poll_desc, data_that_is_there_needs_no_park) {
  warren::run([] {
    half_raw h;
    h.put('x');
    hook_at hook(poll_point::before_wait, [](poll_desc*) {});
    error_code ec;
    EXPECT_EQ(read_byte(h.f, ec), 'x');
    EXPECT_FALSE(ec);
    EXPECT_FALSE(hook.reached());
  });
}

TEST(poll_desc, parks_and_is_woken_by_data) {
  warren::run([] {
    half_raw h;
    error_code ec;
    char got = 0;
    {
      task reader([&] { got = read_byte(h.f, ec); });
      until_parked(1);
      h.put('y');
    }
    EXPECT_EQ(got, 'y');
    EXPECT_FALSE(ec);
    EXPECT_EQ(rt::poller::made().waiters(), 0);
  });
}

class ready_before_park : public ::testing::TestWithParam<poll_point> {};

// The event arrives after EAGAIN: before the word says `wait`, or after it but before the goroutine is published.
TEST_P(ready_before_park, event_is_not_lost) {
  warren::run([&] {
    half_raw h;
    hook_at hook(GetParam(), [&](poll_desc* pd) {
      h.put('z');
      deliver(pd->token(), kData);
    });
    error_code ec;
    EXPECT_EQ(read_byte(h.f, ec), 'z');
    EXPECT_FALSE(ec);
    EXPECT_TRUE(hook.reached());
    EXPECT_EQ(rt::poller::made().waiters(), 0);
  });
}

TEST_P(ready_before_park, deadline_is_not_lost) {
  warren::run([&] {
    half_raw h;
    hook_at hook(GetParam(), [&](poll_desc*) { h.f->set_deadline(rt::nanotime() - 1, rt::kReadSide); });
    error_code ec;
    read_byte(h.f, ec);
    EXPECT_EQ(ec, asio::error::timed_out);
    EXPECT_TRUE(hook.reached());
  });
}

TEST_P(ready_before_park, close_is_not_lost) {
  warren::run([&] {
    half_raw h;
    hook_at hook(GetParam(), [&](poll_desc*) {
      std::thread([&] {  // a foreign thread does not wait for the reader to leave
        error_code ec;
        h.f->close(ec);
        EXPECT_FALSE(ec);
      })
          .join();
    });
    error_code ec;
    read_byte(h.f, ec);
    EXPECT_EQ(ec, asio::error::operation_aborted);
    EXPECT_FALSE(h.f->is_open());
  });
}

TEST_P(ready_before_park, readiness_wins_over_deadline_and_close) {
  warren::run([&] {
    half_raw h;
    hook_at hook(GetParam(), [&](poll_desc* pd) {
      h.put('w');
      deliver(pd->token(), kData);
      h.f->set_deadline(rt::nanotime() - 1, rt::kReadSide);
    });
    error_code ec;
    const char got = read_byte(h.f, ec);
    // Before the word is `wait` the deadline is looked at first; afterwards the readiness that came is used. Neither may hang, and the byte
    // stays.
    if (ec) {
      EXPECT_EQ(ec, asio::error::timed_out);
      h.f->set_deadline(0, rt::kReadSide);
      EXPECT_EQ(read_byte(h.f, ec), 'w');
    } else {
      EXPECT_EQ(got, 'w');
    }
    EXPECT_FALSE(ec);
  });
}

INSTANTIATE_TEST_SUITE_P(points, ready_before_park, ::testing::Values(poll_point::before_wait, poll_point::before_park),
                         [](const auto& i) { return i.param == poll_point::before_wait ? "before_wait" : "before_park"; });

// The timer fires; before it does anything the event comes and readies the goroutine. It must be readied once, and read.
TEST(poll_desc, deadline_fires_together_with_readiness_event_first) {
  warren::run([] {
    half_raw h;
    hook_at hook(
        poll_point::timer_entered,
        [&](poll_desc* pd) {  // on the scheduler's stack
          h.put('a');
          EXPECT_LE(deliver(pd->token(), kData), 1u);
        },
        h.desc());
    h.f->set_deadline(rt::nanotime() + 1'000'000, rt::kReadSide);
    error_code ec;
    EXPECT_EQ(read_byte(h.f, ec), 'a');
    EXPECT_FALSE(ec);
    EXPECT_TRUE(hook.reached());
    read_byte(h.f, ec);
    EXPECT_EQ(ec, asio::error::timed_out) << "the deadline has passed";
  });
}

// The event was checked; before it takes the goroutine out, the deadline readies it. Its readiness stays for the goroutine to find, or for
// the next read.
TEST(poll_desc, deadline_fires_together_with_readiness_deadline_first) {
  warren::run([] {
    half_raw h;
    error_code ec;
    char got = 0;
    {
      task reader([&] { got = read_byte(h.f, ec); });
      until_parked(1);
      hook_at hook(
          poll_point::event_checked, [&](poll_desc* pd) { pd->set_deadline(rt::nanotime() - 1, rt::kReadSide); }, h.desc());
      h.put('b');
      deliver(h.desc()->token(), kData);
      EXPECT_TRUE(hook.reached());
      reader.join();
    }
    if (ec) {
      EXPECT_EQ(ec, asio::error::timed_out);
      h.f->set_deadline(0, rt::kReadSide);
      got = read_byte(h.f, ec);
    }
    EXPECT_EQ(got, 'b');
    EXPECT_FALSE(ec);
    EXPECT_EQ(rt::poller::made().waiters(), 0);
  });
}

// Close comes between an event's check and its delivery, the descriptor is closed for good, and its poll_desc is another's when the event
// goes on.
TEST(poll_desc, event_overtaken_by_close_and_reuse_only_wakes_too_early) {
  warren::run([] {
    half_raw old;
    half_raw* fresh = nullptr;
    poll_desc* const pd = old.desc();
    const uint64_t token = pd->token();
    error_code ec;
    char got = 0;
    {
      hook_at hook(
          poll_point::event_checked,
          [&](poll_desc*) {
            std::thread([&] { old.release(); }).join();
            fresh = new half_raw;
          },
          pd);
      deliver(token, kData | kEnd);
      EXPECT_TRUE(hook.reached());
    }
    ASSERT_EQ(fresh->desc(), pd) << "the pool gives the last one back first";
    EXPECT_NE(pd->token(), token);
    EXPECT_FALSE(pd->ended()) << "the flag was set for the old generation";
    {
      task reader([&] { got = read_byte(fresh->f, ec); });
      until_parked(1);  // the stray `ready` was used up by one more look at the socket
      fresh->put('c');
    }
    EXPECT_EQ(got, 'c');
    EXPECT_FALSE(ec);
    delete fresh;
  });
}

TEST(poll_desc, stale_event_after_reuse_is_dropped) {
  warren::run([] {
    half_raw old;
    poll_desc* const pd = old.desc();
    const uint64_t token = pd->token();
    const int number = old.f->number();
    old.release();
    half_raw fresh;
    ASSERT_EQ(fresh.desc(), pd);
    EXPECT_EQ(fresh.f->number(), number) << "the kernel gives the lowest free number";
    poll_now();  // what registering reports (writable) is not what we look at
    const auto before = rt::poller::made().stats();
    deliver(token, kData | kRoom | kEnd | kBroken);
    EXPECT_GT(rt::poller::made().stats().stale, before.stale);  // one event on epoll, two on kqueue
    const uint64_t stale = rt::poller::made().stats().stale;
    EXPECT_EQ(rt::poll_desc_test::read_word(pd), 0u);
    EXPECT_FALSE(pd->ended());
    // And a token nobody ever had.
    deliver(0xffff'ff00'ffff'ff00, kData);
    EXPECT_EQ(rt::poller::made().stats().stale, stale + 1);
  });
}

TEST(poll_desc, close_while_the_deadline_fires) {
  warren::run([] {
    half_raw h;
    hook_at hook(
        poll_point::timer_entered,
        [&](poll_desc* pd) {  // on the scheduler's stack: close's first half, as another thread would do it
          EXPECT_FALSE(rt::poll_desc_test::closing(pd));
          std::thread([&] {
            error_code ec;
            h.f->close(ec);
          }).join();
        },
        h.desc());
    h.f->set_deadline(rt::nanotime() + 1'000'000, rt::kReadSide);
    error_code ec;
    read_byte(h.f, ec);
    EXPECT_EQ(ec, asio::error::operation_aborted);
    EXPECT_TRUE(hook.reached());
  });
}

// Moved between the moment the timer fires and the moment the goroutine looks: it looks at the new deadline, and arms the timer again.
TEST(poll_desc, deadline_moved_later_while_parked) {
  warren::run([] {
    half_raw h;
    error_code ec;
    const int64_t start = rt::nanotime();
    hook_at hook(
        poll_point::timer_entered, [&](poll_desc* pd) { pd->set_deadline(start + 30'000'000, rt::kReadSide); }, h.desc());
    h.f->set_deadline(start + 5'000'000, rt::kReadSide);
    read_byte(h.f, ec);
    EXPECT_EQ(ec, asio::error::timed_out);
    if (hook.reached()) {  // not reached only if 5 ms passed before the park
      EXPECT_GE(rt::nanotime(), start + 30'000'000);
    }
  });
}

TEST(poll_desc, deadline_moved_earlier_while_parked) {
  warren::run([] {
    half_raw h;
    error_code ec;
    h.f->set_deadline(rt::nanotime() + kHour, rt::kReadSide);
    {
      task reader([&] { read_byte(h.f, ec); });
      until_parked(1);
      h.f->set_deadline(rt::nanotime() + 2'000'000, rt::kReadSide);
    }
    EXPECT_EQ(ec, asio::error::timed_out);
  });
}

TEST(poll_desc, deadline_removed_while_parked) {
  warren::run([] {
    half_raw h;
    error_code ec;
    hook_at hook(
        poll_point::timer_entered,
        [&](poll_desc* pd) {
          pd->set_deadline(0, rt::kReadSide);
          h.put('d');
        },
        h.desc());
    h.f->set_deadline(rt::nanotime() + 5'000'000, rt::kReadSide);
    const char got = read_byte(h.f, ec);
    if (hook.reached()) {
      EXPECT_EQ(got, 'd');
      EXPECT_FALSE(ec);
    }
  });
}

TEST(poll_desc, deadlines_of_the_two_sides_are_apart) {
  warren::run([] {
    half_raw h;
    error_code ec;
    h.f->set_deadline(1, rt::kReadSide);
    EXPECT_EQ(h.f->send("x", 1, park_mode::once, ec), 1u);
    EXPECT_FALSE(ec);
    read_byte(h.f, ec);
    EXPECT_EQ(ec, asio::error::timed_out);
    h.f->set_deadline(1, rt::kWriteSide);
    h.f->set_deadline(0, rt::kReadSide);
    EXPECT_EQ(h.f->send("x", 1, park_mode::once, ec), 0u);
    EXPECT_EQ(ec, asio::error::timed_out);
    h.put('e');
    EXPECT_EQ(read_byte(h.f, ec), 'e');
  });
}

// Reader with deadlines, writer on a foreign thread, closer: random order, many times. Each round ends, no byte is invented, no waiter is
// left over.
TEST(poll_desc, seeded_storm) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  RecordProperty("seed", static_cast<int>(seed));
  warren::run([&] {
    std::minstd_rand random(seed);
    const auto spin = [](uint32_t n) {
      for (volatile uint32_t i = 0; i < n;) i = i + 1;
    };
    for (int round = 0; round < 400; ++round) {
      half_raw h;
      const uint32_t a = random() % 3000, b = random() % 3000, c = random() % 3000;
      const int kind = static_cast<int>(random() % 3);
      int received = 0;
      bool ended = false;
      error_code last;
      std::thread writer([&] {
        spin(a);
        for (char k = 0; k < 3; ++k) {
          char byte = k;
          (void)!::send(h.raw, &byte, 1, MSG_NOSIGNAL);
          spin(b);
        }
      });
      {
        task reader([&] {
          while (!ended) {
            error_code ec;
            const char got = read_byte(h.f, ec);
            if (!ec) {
              EXPECT_EQ(got, received) << "round " << round << " seed " << seed;
              if (++received == 3) ended = true;
            } else if (ec == asio::error::timed_out) {
              h.f->set_deadline(0, rt::kReadSide);
            } else {
              last = ec;
              ended = true;
            }
          }
        });
        task other([&] {
          spin(c);
          if (kind != 0) h.f->set_deadline(rt::nanotime() + (kind == 1 ? -1 : static_cast<int64_t>(c) * 10), rt::kReadSide);
          spin(b);
          if (kind == 2) {
            error_code ec;
            h.f->close(ec);
          }
        });
      }
      writer.join();
      if (kind != 2) {
        EXPECT_EQ(received, 3) << "round " << round << " seed " << seed << ' ' << last.message();
      } else {
        EXPECT_TRUE(received == 3 || last == asio::error::operation_aborted || last == asio::error::bad_descriptor) << last.message();
      }
    }
    EXPECT_EQ(rt::poller::made().waiters(), 0);
  });
}

// A goroutine left parked when its run ended is neither woken nor counted in the next run, and its descriptor can be closed there.
TEST(poll_desc, goroutine_of_an_earlier_run) {
  half_raw* h = nullptr;
  warren::run([&] {
    h = new half_raw;
    h->f->set_deadline(rt::nanotime() + kHour, rt::kReadSide);
    warren::go([f = h->f] {
      error_code ec;
      read_byte(f, ec);
      ADD_FAILURE() << "abandoned goroutines do not come back";
    });
    until_parked(1);
  });
  warren::run([&] {
    EXPECT_EQ(rt::poller::made().waiters(), 0);
    h->put('x');
    half_raw other;  // the new run polls, and delivers both
    error_code ec;
    char got = 0;
    {
      task reader([&] { got = read_byte(other.f, ec); });
      until_parked(1);
      other.put('y');
    }
    EXPECT_EQ(got, 'y');
    EXPECT_EQ(rt::poller::made().waiters(), 0);
    h->f->close(ec);
    EXPECT_FALSE(ec);
    delete h;
  });
}

TEST(poll_desc, parked_goroutine_of_an_earlier_run_is_passed_over_by_close) {
  half_raw* h = nullptr;
  warren::run([&] {
    h = new half_raw;
    warren::go([f = h->f] {
      error_code ec;
      read_byte(f, ec);
    });
    until_parked(1);
  });
  const int number = h->f->number();
  warren::run([&] {
    error_code ec;
    h->f->close(ec);  // returns: it does not wait for who cannot come
    EXPECT_FALSE(ec);
    EXPECT_EQ(::fcntl(number, F_GETFD), -1);
    delete h;
  });
}

TEST(poll_desc, closed_between_runs) {
  half_raw* h = nullptr;
  warren::run([&] {
    h = new half_raw;
    h->f->set_deadline(rt::nanotime() + kHour, rt::kReadSide | rt::kWriteSide);
    error_code ec;
    task reader([&] { read_byte(h->f, ec); });
    until_parked(1);
    h->put('x');
  });
  delete h;  // its timer's heap is gone
}

// The heap in which the timer fired, or still is, belonged to the earlier run: arming it anew must not go there.
TEST(poll_desc, deadline_in_one_run_and_the_next) {
  half_raw* fired = nullptr;
  half_raw* armed = nullptr;
  for (int run = 0; run < 3; ++run) {
    warren::run([&] {
      if (run == 0) {
        fired = new half_raw;
        armed = new half_raw;
      }
      error_code ec;
      fired->f->set_deadline(rt::nanotime() + 1'000'000, rt::kReadSide);
      read_byte(fired->f, ec);
      EXPECT_EQ(ec, asio::error::timed_out);
      armed->f->set_deadline(rt::nanotime() + kHour, rt::kReadSide);
      char got = 0;
      {
        task reader([&] { got = read_byte(armed->f, ec); });
        until_parked(1);
        armed->put('n');
      }
      EXPECT_EQ(got, 'n');
      if (run == 2) {
        delete fired;
        delete armed;
      }
    });
  }
}

}  // namespace
}  // namespace warren::net_test

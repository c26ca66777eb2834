// dial: names, several addresses, deadlines and stops.
#include <netdb.h>
#include <string.h>

#include <mutex>
#include <optional>
#include <vector>

#include "net_test.h"
#include "netpoll/happy_eyeballs.h"
#include "netpoll/resolver.h"
#include "runtime/os/clock.h"
#include "tests/death_style.h"
#include "tests/runtime/sync/newborn_hoard.h"
#include "warren/sync.h"

namespace warren::net_test {
namespace {

using namespace std::chrono_literals;
using asio::ip::address_v4;
using asio::ip::address_v6;

tcp_endpoint v4(const char* a, uint16_t port) { return tcp_endpoint(asio::ip::make_address(a), port); }

// An address where a connect gets no answer: a listener on loopback whose backlog is full. No packet leaves the machine.
class black_hole {
 public:
  black_hole() {
    listen_options o;
    o.backlog = 0;
    l_ = listen(tcp_endpoint(address_v4::loopback(), 0), o);
    // One connection fits a backlog of 0; later ones stay in the handshake.
    for (int i = 0; i < 8; ++i) {
      dial_options d;
      d.timeout = 20ms;
      error_code ec;
      tcp_conn c = dial(l_.local_endpoint(), ec, d);
      if (ec == asio::error::timed_out) return;
      filling_.push_back(std::move(c));
    }
    ADD_FAILURE() << "a full backlog still answers";
  }
  tcp_endpoint where() const { return l_.local_endpoint(); }

 private:
  tcp_listener l_;
  std::vector<tcp_conn> filling_;
};

// A port of loopback that refuses.
tcp_endpoint refusing() {
  tcp_listener l = listen("127.0.0.1:0");
  return l.local_endpoint();
}

TEST(happy_eyeballs, families_take_turns_in_the_resolvers_order) {
  const std::vector<tcp_endpoint> in{v4("::1", 1), v4("::2", 1), v4("::3", 1), v4("1.1.1.1", 1), v4("1.1.1.2", 1)};
  const std::vector<tcp_endpoint> out{in[0], in[3], in[1], in[4], in[2]};
  EXPECT_EQ(rt::interleave(in), out);
  const std::vector<tcp_endpoint> four{in[3], in[0], in[4]};
  EXPECT_EQ(rt::interleave(four), four);
  EXPECT_TRUE(rt::interleave({}).empty());
}

TEST(happy_eyeballs, a_silent_address_does_not_hold_up_the_next) {
  warren::run([] {
    black_hole silent;
    tcp_listener l = listen("127.0.0.1:0");
    dial_options o;
    o.attempt_delay = 10ms;
    tcp_conn c = dial(std::vector<tcp_endpoint>{silent.where(), l.local_endpoint()}, o);
    EXPECT_EQ(c.remote_endpoint(), l.local_endpoint());
    EXPECT_TRUE(l.accept().is_open());
    while (rt::poller::made().waiters() > 0) yield();  // the loser has closed its socket
  });
}

TEST(happy_eyeballs, a_failure_starts_the_next_at_once) {
  warren::run([] {
    tcp_listener l = listen("127.0.0.1:0");
    dial_options o;
    o.attempt_delay = 1h;
    tcp_conn c = dial(std::vector<tcp_endpoint>{refusing(), refusing(), l.local_endpoint()}, o);
    EXPECT_EQ(c.remote_endpoint(), l.local_endpoint());
  });
}

TEST(happy_eyeballs, all_errors_in_one_line_and_the_first_as_code) {
  warren::run([] {
    const tcp_endpoint a = refusing(), b = refusing();
    try {
      dial(std::vector<tcp_endpoint>{a, b});
      ADD_FAILURE() << "connected";
    } catch (const net_error& e) {
      EXPECT_EQ(e.code(), asio::error::connection_refused);
      EXPECT_EQ(std::string(e.what()), "dial: " + to_string(a) + ": connection refused, " + to_string(b) + ": connection refused");
    }
    error_code ec;
    EXPECT_FALSE(dial(std::vector<tcp_endpoint>{}, ec).is_open());
    EXPECT_EQ(ec, asio::error::invalid_argument);
  });
}

TEST(dial, silent_host_until_the_timeout_or_the_stop) {
  warren::run([] {
    black_hole silent;
    error_code ec;
    dial_options o;
    o.timeout = 2ms;
    EXPECT_FALSE(dial(silent.where(), ec, o).is_open());
    EXPECT_EQ(ec, asio::error::timed_out);
    EXPECT_FALSE(dial(std::vector<tcp_endpoint>{silent.where(), silent.where()}, ec, o).is_open());
    EXPECT_EQ(ec, asio::error::timed_out);
    o.timeout = 0ns;
    EXPECT_FALSE(dial(silent.where(), ec, o).is_open());
    EXPECT_EQ(ec, asio::error::timed_out);

    for (const size_t addresses : {1, 3}) {
      std::stop_source stop;
      dial_options s;
      s.stop = stop.get_token();
      s.attempt_delay = 10ms;
      {
        task dialler([&] { EXPECT_FALSE(dial(std::vector<tcp_endpoint>(addresses, silent.where()), ec, s).is_open()); });
        until_parked(1);
        std::thread([&] { stop.request_stop(); }).join();  // from a thread that is not the runtime's
      }
      EXPECT_EQ(ec, asio::error::operation_aborted);
      EXPECT_FALSE(dial(silent.where(), ec, s).is_open());
      EXPECT_EQ(ec, asio::error::operation_aborted) << "stopped before it began";
    }
    while (rt::poller::made().waiters() > 0) yield();
  });
}

// Stops at every moment of a dial that succeeds: a connection or an error, never both, and nothing left behind.
TEST(dial, stop_races_success) {
  warren::run([] {
    tcp_listener l = listen("127.0.0.1:0");
    int connected = 0, stopped = 0;
    for (int i = 0; i < 300; ++i) {
      std::stop_source stop;
      dial_options o;
      o.stop = stop.get_token();
      std::atomic<bool> through{false};
      task stopper([&, i] {
        for (int n = 0; n < i % 30; ++n) yield();
        while (i % 3 == 0 && !through) yield();  // comes too late
        stop.request_stop();
      });
      error_code ec;
      tcp_conn c = dial(std::vector<tcp_endpoint>(1 + i % 2, l.local_endpoint()), ec, o);
      through = true;
      EXPECT_EQ(c.is_open(), !ec);
      ++(ec ? stopped : connected);
      stopper.join();
    }
    EXPECT_GE(connected, 100);
    l.close();
    while (rt::poller::made().waiters() > 0) yield();
  });
}

// --- names: the resolver is replaced, so that no name server is asked and every case comes at will.

struct fake_resolver {
  std::mutex lock;
  std::vector<tcp_endpoint> answer;
  int error = 0;
  std::atomic<int> calls{0}, now{0}, most{0};
  std::atomic<bool> hold{false};

  static fake_resolver& get() {
    static fake_resolver f;
    return f;
  }
  // In the blocking region: a thread may wait here.
  static rt::sys::lookup_result look_up(const std::string& host, uint16_t port, bool) {
    fake_resolver& f = get();
    ++f.calls;
    const int now = ++f.now;
    for (int most = f.most; now > most && !f.most.compare_exchange_weak(most, now);) {
    }
    while (f.hold && host != "quick") std::this_thread::yield();
    --f.now;
    rt::sys::lookup_result r;
    const std::lock_guard held(f.lock);
    r.error = f.error;
    for (tcp_endpoint e : f.answer) {
      if (e.port() == 0) e.port(port);
      rt::sys::socket_address a;
      memcpy(&a.storage, e.data(), e.size());
      a.size = static_cast<socklen_t>(e.size());
      r.addresses.push_back(a);
    }
    return r;
  }
};

class names : public ::testing::Test {
 protected:
  void SetUp() override {
    fake_resolver& f = fake_resolver::get();
    f.answer.clear();
    f.error = 0;
    f.calls = f.now = f.most = 0;
    f.hold = false;
    rt::lookup_test_hook = &fake_resolver::look_up;
  }
  void TearDown() override { rt::lookup_test_hook = nullptr; }
  fake_resolver& f = fake_resolver::get();
};

TEST_F(names, a_name_is_looked_up_a_number_is_not) {
  warren::run([&] {
    tcp_listener l = listen("127.0.0.1:0");
    f.answer = {v4("127.0.0.1", 0)};
    const std::string port = std::to_string(l.local_endpoint().port());
    EXPECT_EQ(dial("service.test:" + port).remote_endpoint(), l.local_endpoint());
    EXPECT_EQ(f.calls, 1);
    EXPECT_TRUE(dial("127.0.0.1:" + port).is_open());
    EXPECT_TRUE(dial(":" + port).is_open());
    EXPECT_EQ(f.calls, 1);
  });
}

TEST_F(names, the_line_names_every_address) {
  warren::run([&] {
    const tcp_endpoint a = refusing(), b = refusing();
    f.answer = {a, b};
    try {
      dial("service.test:80");
      ADD_FAILURE() << "connected";
    } catch (const net_error& e) {
      EXPECT_EQ(std::string(e.what()),
                "dial service.test:80: " + to_string(a) + ": connection refused, " + to_string(b) + ": connection refused");
    }
    f.answer.clear();
    f.error = EAI_AGAIN;
    try {
      dial("service.test:80");
      ADD_FAILURE() << "connected";
    } catch (const net_error& e) {
      EXPECT_EQ(e.code(), asio::error::host_not_found_try_again);
      EXPECT_NE(std::string(e.what()).find("the name server did not answer"), std::string::npos) << e.what();
    }
  });
}

TEST_F(names, deadline_and_stop_do_not_wait_for_the_lookup) {
  warren::run([&] {
    f.hold = true;
    error_code ec;
    dial_options o;
    o.timeout = 2ms;
    do {  // on a busy machine the time may be up before the lookup's turn comes: then it has left the line
      dial("slow.test:80", ec, o);
      EXPECT_EQ(ec, asio::error::timed_out);
    } while (f.now == 0);
    std::stop_source stop;
    dial_options s;
    s.stop = stop.get_token();
    {
      task dialler([&] { dial("slow.test:80", ec, s); });
      while (f.now < 2) yield();
      stop.request_stop();
    }
    EXPECT_EQ(ec, asio::error::operation_aborted);
    EXPECT_GE(f.now, 2) << "the lookups go on";
    f.hold = false;
    while (rt::resolver_stats().running > 0) yield();
  });
}

// More lookups than threads may be had for them: the rest waits in line, those who give up leave it, and a new one gets its turn.
TEST_F(names, lookups_are_bounded) {
  warren::run([&] {
    f.hold = true;
    constexpr int kMore = 50;
    wait_group wg;
    std::atomic<int> timed_out{0};
    const uint64_t before = rt::resolver_stats().done;
    for (int i = 0; i < rt::kConcurrentLookups; ++i) {
      wg.go([&] {
        error_code ec;
        rt::resolve("slow.test", 80, false, 0, {}, ec);
        EXPECT_EQ(ec, asio::error::host_not_found);
      });
    }
    while (f.now < rt::kConcurrentLookups) yield();
    wait_group late;
    for (int i = 0; i < kMore; ++i) {
      late.go([&] {
        error_code ec;
        rt::resolve("late.test", 80, false, rt::nanotime() + 1'000'000, {}, ec);
        timed_out += ec == asio::error::timed_out;
      });
    }
    late.wait();
    EXPECT_EQ(timed_out, kMore);
    EXPECT_EQ(rt::resolver_stats().in_line, 0);
    EXPECT_EQ(rt::resolver_stats().running, rt::kConcurrentLookups);
    EXPECT_EQ(f.most, rt::kConcurrentLookups);
    f.hold = false;
    wg.wait();
    while (rt::resolver_stats().running > 0) yield();
    EXPECT_EQ(rt::resolver_stats().done - before, static_cast<uint64_t>(rt::kConcurrentLookups)) << "who left the line was not looked up";
  });
}

TEST_F(names, a_run_that_ends_with_lookups_in_line_leaves_none_to_the_next) {
  f.hold = true;
  warren::run([&] {
    for (int i = 0; i < rt::kConcurrentLookups + 5; ++i) {
      warren::go([] {
        error_code ec;
        rt::resolve("slow.test", 80, false, 0, {}, ec);
      });
    }
    while (rt::resolver_stats().in_line < 5) yield();
    f.hold = false;  // the run would otherwise leave threads behind
  });
  warren::run([&] {
    f.answer = {v4("127.0.0.1", 0)};
    error_code ec;
    EXPECT_EQ(rt::resolve("quick", 80, false, 0, {}, ec).size(), 1u);
    while (rt::resolver_stats().running > 0) yield();
    EXPECT_EQ(rt::resolver_stats().in_line, 0);
  });
}

// No goroutine to be had for the lookup: the caller is told, the line is empty, and no worker is counted that does not exist (sixteen such
// and nobody would ever be looked up again).
TEST(resolver, no_goroutine_for_the_lookup) {
  tests::choose_death_style();
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer takes all address space";
#endif
  const auto in_child = [] {
    setenv("WARREN_MAXPROCS", "1", 1);
    if (!tests::limit_goroutines()) _exit(3);
    rt::lookup_test_hook = +[](const std::string&, uint16_t port, bool) {
      rt::sys::lookup_result r;
      const tcp_endpoint e = v4("127.0.0.1", port);
      auto& a = r.addresses.emplace_back();
      memcpy(&a.storage, e.data(), e.size());
      a.size = static_cast<socklen_t>(e.size());
      return r;
    };
    warren::run([] {
      error_code ec;
      for (int i = 0; i < 3; ++i) {
        bool told = false;
        {
          tests::newborn_hoard all;
          try {
            rt::resolve("somewhere", 1, false, 0, {}, ec);
          } catch (const std::bad_alloc&) {
            told = true;
          }
        }
        EXPECT_TRUE(told);
        EXPECT_EQ(rt::resolver_stats().running, 0);
        EXPECT_EQ(rt::resolver_stats().in_line, 0);
      }
      EXPECT_EQ(rt::resolve("somewhere", 1, false, 0, {}, ec).size(), 1u);
      EXPECT_FALSE(ec);
    });
    _exit(testing::Test::HasFailure() ? 1 : 0);
  };
  EXPECT_EXIT(in_child(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace warren::net_test

#include "warren/signal.h"

#include "net_test.h"

namespace warren::net_test {
namespace {

using namespace std::chrono_literals;

class signals : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { block_signals({SIGTERM, SIGINT, SIGUSR1, SIGUSR2}); }
};

TEST_F(signals, goroutine_waits_for_a_signal) {
  warren::run([] {
    int got = 0;
    {
      task waiter([&] { got = wait_signal({SIGTERM, SIGINT}); });
      until_parked(1);
      ::kill(::getpid(), SIGTERM);
    }
    EXPECT_EQ(got, SIGTERM);
  });
}

TEST_F(signals, pending_signal_is_taken_at_once) {
  ::kill(::getpid(), SIGINT);
  warren::run([] { EXPECT_EQ(wait_signal({SIGTERM, SIGINT}), SIGINT); });
}

TEST_F(signals, each_signal_to_its_set) {
  warren::run([] {
    signal_set one({SIGUSR1}), two({SIGUSR2});
    int a = 0, b = 0;
    {
      task first([&] { a = one.wait(); });
      task second([&] { b = two.wait(); });
      until_parked(2);
      ::kill(::getpid(), SIGUSR2);
      ::kill(::getpid(), SIGUSR1);
    }
    EXPECT_EQ(a, SIGUSR1);
    EXPECT_EQ(b, SIGUSR2);
  });
}

TEST_F(signals, deadline_and_close) {
  warren::run([] {
    signal_set s({SIGUSR1});
    error_code ec;
    s.deadline(1ms);
    EXPECT_EQ(s.wait(ec), 0);
    EXPECT_EQ(ec, asio::error::timed_out);
    s.deadline(std::chrono::steady_clock::time_point::max());
    {
      task waiter([&] { s.wait(ec); });
      until_parked(1);
      s.close();
    }
    EXPECT_EQ(ec, asio::error::operation_aborted);
    signal_set none;
    EXPECT_EQ(none.wait(ec), 0);
    EXPECT_EQ(ec, asio::error::bad_descriptor);
  });
}

TEST_F(signals, several_in_a_row_by_one_set) {
  warren::run([] {
    signal_set s({SIGUSR1, SIGUSR2});
    for (int i = 0; i < 50; ++i) {
      const int sent = i % 2 == 0 ? SIGUSR1 : SIGUSR2;
      ::kill(::getpid(), sent);
      EXPECT_EQ(s.wait(), sent);
    }
  });
}

std::string line_of(void (*f)()) {
  try {
    f();
  } catch (const net_error& e) {
    return e.what();
  }
  return "";
}

TEST_F(signals, misuse_is_explained) {
  EXPECT_EQ(line_of([] { block_signals({SIGKILL}); }), "block_signals SIGKILL: cannot be blocked or waited for; leave it out");
  EXPECT_EQ(line_of([] { block_signals({SIGSEGV}); }),
            "block_signals SIGSEGV: reports a fault of the thread itself and cannot be waited for; leave it out");
  EXPECT_EQ(line_of([] { block_signals({12345}); }), "block_signals 12345: is not a signal; use a SIG… constant");
  EXPECT_EQ(line_of([] { block_signals({}); }), "block_signals: no signal given; name at least one, for example SIGTERM");
  EXPECT_EQ(line_of([] { signal_set s({SIGHUP}); }),
            "wait_signal SIGHUP: is not blocked and would end the process; call warren::block_signals first in main");
}

}  // namespace
}  // namespace warren::net_test

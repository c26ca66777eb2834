// Signals on channels.
#include <fcntl.h>
#include <signal.h>

#include "net_test.h"
#include "warren/chan.h"
#include "warren/select.h"
#include "warren/signal.h"

namespace warren::net_test {
namespace {

void handler_before(int) {}

TEST(signal_notify, each_channel_gets_its_signals) {
  warren::run([] {
    chan<int> both = make_chan<int>(2), one = make_chan<int>(1);
    signal_notify(both, {SIGUSR1});
    signal_notify(both, {SIGUSR2});  // adds
    signal_notify(one, {SIGUSR1});
    ::kill(::getpid(), SIGUSR1);
    EXPECT_EQ(both.recv(), SIGUSR1);
    EXPECT_EQ(one.recv(), SIGUSR1);
    ::kill(::getpid(), SIGUSR2);
    EXPECT_EQ(both.recv(), SIGUSR2);
    EXPECT_EQ(one.size(), 0u);
    signal_stop(both);
    signal_stop(one);
  });
}

TEST(signal_notify, raised_on_the_goroutines_own_thread) {
  warren::run([] {
    chan<int> c = make_chan<int>(1);
    signal_notify(c, {SIGHUP});
    for (int i = 0; i < 100; ++i) {
      ::raise(SIGHUP);
      EXPECT_EQ(c.recv(), SIGHUP);
    }
    signal_stop(c);
  });
}

// The sender never waits: what does not fit is dropped, for that channel only.
TEST(signal_notify, a_full_channel_drops) {
  warren::run([] {
    chan<int> full = make_chan<int>(1), unbuffered = make_chan<int>(), marker = make_chan<int>(8);
    for (const auto& c : {full, unbuffered, marker}) signal_notify(c, {SIGUSR1, SIGUSR2});
    for (int i = 0; i < 3; ++i) {
      ::kill(::getpid(), i == 0 ? SIGUSR1 : SIGUSR2);
      EXPECT_EQ(marker.recv(), i == 0 ? SIGUSR1 : SIGUSR2);
    }
    for (const auto& c : {full, unbuffered, marker}) signal_stop(c);
    EXPECT_EQ(full.size(), 1u);
    EXPECT_EQ(full.recv(), SIGUSR1);
  });
}

TEST(signal_notify, stop_ends_it_and_restores_what_was_before) {
  struct sigaction mine {
  }, now{};
  mine.sa_handler = &handler_before;
  ::sigaction(SIGUSR1, &mine, nullptr);
  warren::run([&] {
    chan<int> a = make_chan<int>(4), b = make_chan<int>(4);
    signal_stop(a);  // was never notified
    signal_notify(a, {SIGUSR1});
    signal_notify(b, {SIGUSR1});
    signal_stop(a);
    ::kill(::getpid(), SIGUSR1);
    EXPECT_EQ(b.recv(), SIGUSR1);
    EXPECT_EQ(a.size(), 0u);
    ::sigaction(SIGUSR1, nullptr, &now);
    EXPECT_NE(now.sa_handler, &handler_before);
    signal_stop(b);
    ::sigaction(SIGUSR1, nullptr, &now);
    EXPECT_EQ(now.sa_handler, &handler_before);
  });
  ::signal(SIGUSR1, SIG_DFL);
}

std::atomic<int> outside_of_runs{0};
void count_outside(int) { ++outside_of_runs; }

int open_descriptors() {
  int n = 0;
  for (int fd = 0; fd < 1024; ++fd) n += ::fcntl(fd, F_GETFD) != -1;
  return n;
}

// What a run asked for and did not stop ends with it: the signal does what it did before, between runs and in a next run that asks for
// nothing.
TEST(signal_notify, ends_with_its_run) {
  struct sigaction mine {
  }, now{};
  mine.sa_handler = &count_outside;
  ::sigaction(SIGUSR1, &mine, nullptr);
  outside_of_runs = 0;
  int descriptors = 0;
  for (int i = 0; i < 5; ++i) {
    warren::run([] {
      chan<int> c = make_chan<int>(1);
      signal_notify(c, {SIGUSR1});
      ::kill(::getpid(), SIGUSR1);
      EXPECT_EQ(c.recv(), SIGUSR1);
      warren::go([c] {
        for (;;) c.recv();
      });
      // Not stopped.
    });
    ::sigaction(SIGUSR1, nullptr, &now);
    EXPECT_EQ(now.sa_handler, &count_outside);
    ::raise(SIGUSR1);
    EXPECT_EQ(outside_of_runs, 2 * i + 1);
    warren::run([] { ::raise(SIGUSR1); });
    EXPECT_EQ(outside_of_runs, 2 * i + 2);
    if (i == 0) descriptors = open_descriptors();
  }
  EXPECT_EQ(open_descriptors(), descriptors) << "what a run opened for this is closed at its end";
  ::signal(SIGUSR1, SIG_DFL);
}

// Runs that end at any moment, while goroutines notify and stop and another thread sends.
TEST(signal_notify, runs_end_under_fire) {
  struct sigaction mine {
  }, now{};
  mine.sa_handler = &count_outside;
  ::sigaction(SIGUSR1, &mine, nullptr);
  std::atomic<bool> stop{false};
  std::thread sender([&] {
    while (!stop) ::kill(::getpid(), SIGUSR1);
  });
  for (int i = 0; i < 60; ++i) {
    warren::run([i] {
      static std::atomic<int> received;
      received = 0;
      for (int n = 0; n < 3; ++n) {
        warren::go([] {
          for (;;) {
            chan<int> c = make_chan<int>(1);
            signal_notify(c, {SIGUSR1});
            if (c.try_recv()) ++received;
            yield();
            if (c.try_recv()) ++received;
            signal_stop(c);
          }
        });
      }
      while (received < i % 4) yield();
      for (int n = 0; n < i; ++n) yield();
    });
    ::sigaction(SIGUSR1, nullptr, &now);
    ASSERT_EQ(now.sa_handler, &count_outside) << "after run " << i;
  }
  stop = true;
  sender.join();
  ::signal(SIGUSR1, SIG_DFL);
}

// Signals from another thread while channels come and go: none after signal_stop, no deadlock.
TEST(signal_notify, comes_and_goes_under_fire) {
  warren::run([] {
    chan<int> always = make_chan<int>(1);
    signal_notify(always, {SIGUSR1});
    std::atomic<bool> stop{false};
    std::thread sender([&] {
      while (!stop) ::kill(::getpid(), SIGUSR1);
    });
    for (int i = 0; i < 300; ++i) {
      chan<int> c = make_chan<int>(1);
      signal_notify(c, {SIGUSR1});
      EXPECT_EQ(c.recv(), SIGUSR1);
      signal_stop(c);
      while (c.try_recv()) {
      }
      yield();
      EXPECT_EQ(c.size(), 0u);
    }
    stop = true;
    sender.join();
    signal_stop(always);
  });
  ::signal(SIGUSR1, SIG_DFL);
}

TEST(signal_notify, misuse_is_explained) {
  warren::run([] {
    const auto line_of = [](auto f) -> std::string {
      try {
        f();
      } catch (const net_error& e) {
        return e.what();
      }
      return "nothing was thrown";
    };
    chan<int> c = make_chan<int>(1);
    EXPECT_EQ(line_of([&] { signal_notify(c, {SIGKILL}); }), "signal_notify SIGKILL: cannot be blocked or waited for; leave it out");
    EXPECT_EQ(line_of([&] { signal_notify(c, {}); }), "signal_notify: no signal given; name at least one, for example SIGTERM");
    EXPECT_EQ(line_of([&] { signal_notify(chan<int>(), {SIGHUP}); }),
              "signal_notify: nil channel; make one with room for at least one signal");
    EXPECT_EQ(line_of([&] { signal_notify(c, {100000}); }), "signal_notify 100000: is not a signal; use a SIG… constant");
  });
}

}  // namespace
}  // namespace warren::net_test

// Misuse ends the process with one line that names it. Each in a child process.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/death_style.h"
#include "tests/runtime/sync/waiting.h"
#include "warren/chan.h"
#include "warren/go.h"
#include "warren/select.h"
#include "warren/sync.h"

namespace warren {
namespace {

class Misuse : public ::testing::Test {
 protected:
  Misuse() { tests::choose_death_style(); }
};

TEST_F(Misuse, SendOnClosed) {
  EXPECT_DEATH(run([] {
                 chan<int> c = make_chan<int>(1);
                 c.close();
                 c.send(1);
               }),
               "fatal error: goroutine 1: send on closed channel");
  EXPECT_DEATH(run([] {
                 chan<int> c = make_chan<int>(1);
                 c.close();
                 (void)c.try_send(1);
               }),
               "send on closed channel");
  EXPECT_DEATH(run([] {
                 chan<int> c = make_chan<int>(), d = make_chan<int>();
                 c.close();
                 select(recv(d), send(c, 1));
               }),
               "send on closed channel");
}

TEST_F(Misuse, CloseUnderAWaitingSender) {
  EXPECT_DEATH(run([] {
                 chan<int> c = make_chan<int>();
                 wait_group wg;
                 wg.go([&] { c.send(1); });
                 testing::until_senders(c, 1);
                 c.close();
                 wg.wait();
               }),
               "send on closed channel");
  EXPECT_DEATH(run([] {
                 chan<int> c = make_chan<int>(), d = make_chan<int>();
                 wait_group wg;
                 wg.go([&] { select(send(c, 1), recv(d)); });
                 testing::until_senders(c, 1);
                 c.close();
                 wg.wait();
               }),
               "send on closed channel");
}

TEST_F(Misuse, Close) {
  EXPECT_DEATH(run([] {
                 chan<int> c = make_chan<int>();
                 c.close();
                 c.close();
               }),
               "fatal error: goroutine 1: close of closed channel");
  EXPECT_DEATH(run([] {
                 chan<int> c;
                 c.close();
               }),
               "fatal error: goroutine 1: close of nil channel");
}

TEST_F(Misuse, TooManyCases) {
  EXPECT_DEATH(run([] {
                 chan<int> c = make_chan<int>();
                 std::vector<std::unique_ptr<recv_case<int>>> cases;
                 std::vector<select_case*> list;
                 for (int i = 0; i < 65; ++i) {
                   cases.push_back(std::make_unique<recv_case<int>>(c));
                   list.push_back(cases.back().get());
                 }
                 select(list);
               }),
               "select over more than 64 channels");
}

TEST_F(Misuse, Mutex) {
  EXPECT_DEATH(run([] {
                 mutex m;
                 m.unlock();
               }),
               "fatal error: goroutine 1: unlock of unlocked mutex");
  EXPECT_DEATH(run([] {
                 mutex m;
                 m.lock();
                 m.unlock();
                 m.unlock();
               }),
               "unlock of unlocked mutex");
}

TEST_F(Misuse, WaitGroup) {
  EXPECT_DEATH(run([] {
                 wait_group wg;
                 wg.add(1);
                 wg.done();
                 wg.done();
               }),
               "fatal error: goroutine 1: negative wait_group counter .-1 after add.-1..");
  // The waiters have been woken and have not left yet: there is one P, and we keep it.
  EXPECT_DEATH(setenv("WARREN_MAXPROCS", "1", 1); run([] {
                                                    wait_group wg;
                                                    wg.add(1);
                                                    for (int i = 0; i < 100; ++i) go([&] { wg.wait(); });
                                                    for (int i = 0; i < 1000; ++i) yield();
                                                    wg.done();
                                                    wg.add(1);
                                                    yield();
                                                  }),
                                                  "wait_group used again before [0-9]+ previous wait");
}

TEST_F(Misuse, AThreadWithoutAGoroutineWouldHaveToWait) {
  EXPECT_DEATH(run([] {
                 root_chan<int> c = make_chan<int>();
                 std::thread([&] { c.send(1); }).join();
               }),
               "would have to wait, but this thread runs no goroutine");
}

struct throws_when_moved {
  throws_when_moved() = default;
  throws_when_moved(throws_when_moved&&) { throw std::string("moved"); }
};
TEST_F(Misuse, AThrowingMove) {
  EXPECT_DEATH(run([] {
                 chan<throws_when_moved> c = make_chan<throws_when_moved>(1);
                 c.send(throws_when_moved());
               }),
               "uncaught exception");
}

TEST_F(Misuse, AllAsleep) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "TSan has a thread of its own, and a thread that warren did not start could still ready somebody";
#endif
  if (tests::emulated()) GTEST_SKIP() << "the emulator has a thread of its own, which could still ready somebody for all that warren knows";
  EXPECT_DEATH(run([] {
                 chan<int> c = make_chan<int>();
                 c.recv();
               }),
               "all goroutines are asleep - deadlock!");
}

}  // namespace
}  // namespace warren

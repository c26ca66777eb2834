// The dump of all goroutines: on SIGQUIT and at a deadlock, parsed as a reader of Go's dumps would.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "runtime/os/clock.h"
#include "runtime/os/membarrier.h"
#include "runtime/sched/g.h"
#include "runtime/sched/park.h"
#include "runtime/sched/scheduler.h"
#include "runtime/stack/context.h"
#include "tests/death_style.h"
#include "warren/chan.h"
#include "warren/go.h"
#include "warren/sync.h"

namespace warren {
namespace {

struct listed {
  std::string state;
  std::vector<std::string> functions;
  std::string creator;
  uint64_t creator_id = 0;
};

// Every line of a dump has its form. Returns nothing, and says why, where one has not.
std::optional<std::map<uint64_t, listed>> parse(const std::string& text, std::ostream& why) {
  static const std::regex head(R"(goroutine (\d+) \[([A-Za-z. ()]+)(, (\d+) minutes)?\]:)"), function(R"((.+)\(\.\.\.\))"),
      place(R"(	\S*:0x[0-9a-f]+ \+0x[0-9a-f]+)"), created(R"(created by (.+) in goroutine (\d+))");
  std::map<uint64_t, listed> all;
  std::istringstream in(text);
  std::string line;
  while (std::getline(in, line)) {
    std::smatch m;
    if (!std::regex_match(line, m, head)) continue;  // the headline, a sanitizer's remarks
    const uint64_t id = std::stoull(m[1]);
    listed g;
    g.state = m[2];
    while (std::getline(in, line) && !line.empty()) {
      if (line == "\tgoroutine running on other thread; stack unavailable") continue;
      const bool is_created = std::regex_match(line, m, created);
      if (is_created) {
        g.creator = m[1];
        g.creator_id = std::stoull(m[2]);
      } else if (std::regex_match(line, m, function)) {
        g.functions.push_back(m[1]);
      } else {
        why << "neither a function nor a creator: " << line;
        return std::nullopt;
      }
      if (!std::getline(in, line) || !std::regex_match(line, place)) {
        why << "not a place: " << line;
        return std::nullopt;
      }
    }
    if (!all.emplace(id, g).second) {
      why << "goroutine " << id << " is listed twice";
      return std::nullopt;
    }
  }
  return all;
}

// In some goroutine of that state, these functions from the inside out, and who created it.
class lists : public testing::MatcherInterface<const std::string&> {
 public:
  lists(std::string headline, std::string state, std::vector<std::string> functions, std::string creator)
      : headline_(std::move(headline)), state_(std::move(state)), functions_(std::move(functions)), creator_(std::move(creator)) {}
  bool MatchAndExplain(const std::string& text, testing::MatchResultListener* why) const override {
    std::ostringstream reason;
    const auto all = parse(text, reason);
    if (!all) {
      *why << reason.str();
      return false;
    }
    if (text.find(headline_) == std::string::npos) {
      *why << "no line " << headline_;
      return false;
    }
    for (const auto& [id, g] : *all) {
      if (g.state != state_) continue;
      size_t found = 0;
      for (const std::string& f : g.functions)
        if (found < functions_.size() && f.find(functions_[found]) != std::string::npos) ++found;
      if (found != functions_.size()) continue;
      if (creator_.empty() ? id == 1 : g.creator.find(creator_) != std::string::npos && g.creator_id == 1) return true;
    }
    *why << "no such goroutine";
    return false;
  }
  void DescribeTo(std::ostream* out) const override { *out << "a dump with a goroutine [" << state_ << "] in " << functions_.front(); }

 private:
  std::string headline_, state_;
  std::vector<std::string> functions_;
  std::string creator_;
};
testing::Matcher<const std::string&> is_dump(std::string headline, std::string state, std::vector<std::string> functions,
                                             std::string creator) {
  return testing::Matcher<const std::string&>(new lists(std::move(headline), std::move(state), std::move(functions), std::move(creator)));
}

// Something after each call, so that none becomes a jump.
[[gnu::noinline]] void waits_here(const chan<int>& c) {
  c.recv();
  asm volatile("" ::: "memory");
}
std::atomic<rt::g*> who_calls{nullptr};  // the last one
[[gnu::noinline]] void calls_it(const chan<int>& c) {
  who_calls = rt::getg();
  waits_here(c);
  asm volatile("" ::: "memory");
}
[[gnu::noinline]] void spawns_it(const chan<int>& c) {
  go([=] { calls_it(c); });
  asm volatile("" ::: "memory");
}
// Started is not parked: on a busy machine its thread may be put aside for long on the way.
rt::g* until_it_waits() {
  while (who_calls == nullptr || who_calls.load()->status.load() != rt::g_status::waiting) yield();
  return who_calls;
}
[[gnu::noinline]] void main_waits(const chan<int>& c) {
  c.recv();
  asm volatile("nop" ::: "memory");  // or the compiler makes one function of this and waits_here
}

class GoroutineDumpDeathTest : public testing::Test {
 protected:
  void SetUp() override {
    tests::choose_death_style();
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "a dump reads what other threads write, as the sanitizer rightly says";
#endif
    if (tests::emulated()) GTEST_SKIP() << "no claims and no deadlock detection there";
  }
};

TEST_F(GoroutineDumpDeathTest, ADeadlockShowsWhereEachWaitsAndWhoStartedIt) {
  const auto program = [] {
    run([] {
      const auto c = make_chan<int>();
      spawns_it(c);
      main_waits(c);
    });
  };
  EXPECT_EXIT(program(), testing::ExitedWithCode(2),
              is_dump("fatal error: all goroutines are asleep - deadlock!", "chan receive", {"waits_here", "calls_it"}, "spawns_it"));
  EXPECT_EXIT(program(), testing::ExitedWithCode(2),
              is_dump("fatal error: all goroutines are asleep - deadlock!", "chan receive", {"main_waits"}, ""));
}

TEST_F(GoroutineDumpDeathTest, SigquitDumpsWhileGoroutinesRunAndExits) {
  const auto program = [] {
    run([] {
      const auto c = make_chan<int>();
      spawns_it(c);
      until_it_waits();
      // Others change all the time.
      const auto ping = make_chan<int>(), pong = make_chan<int>();
      go([=] {
        for (;;) pong.send(*ping.recv());
      });
      kill(getpid(), SIGQUIT);
      for (;;) {
        ping.send(1);
        pong.recv();
      }
    });
  };
  EXPECT_EXIT(program(), testing::ExitedWithCode(2), is_dump("SIGQUIT: quit", "chan receive", {"waits_here", "calls_it"}, "spawns_it"));
}

TEST_F(GoroutineDumpDeathTest, SigquitWakesASleepingProgram) {
  const auto program = [] {
    run([] {
      const auto c = make_chan<int>();
      spawns_it(c);
      until_it_waits();
      // Long after sysmon has gone to sleep for a minute: everything is idle for 0.3 s before.
      sleep(std::chrono::milliseconds(300));
      blocking([] { kill(getpid(), SIGQUIT); });
      sleep(std::chrono::hours(1));
    });
  };
  EXPECT_EXIT(program(), testing::ExitedWithCode(2), is_dump("SIGQUIT: quit", "chan receive", {"waits_here"}, "spawns_it"));
}

TEST_F(GoroutineDumpDeathTest, MinutesAreShown) {
  EXPECT_EXIT(run([] {
                const auto c = make_chan<int>();
                spawns_it(c);
                until_it_waits();
                rt::scheduler::current()->scavenger().pass(rt::nanotime() - int64_t{150} * 1'000'000'000, INT64_MAX);
                kill(getpid(), SIGQUIT);
                for (;;) yield();
              }),
              testing::ExitedWithCode(2), "goroutine [0-9]+ \\[chan receive, 2 minutes\\]:");
}

volatile sig_atomic_t handled = 0;

TEST(Sigquit, AProgramsOwnHandlerIsLeftAlone) {
  struct sigaction mine {};
  mine.sa_handler = [](int) { handled = 1; };
  sigaction(SIGQUIT, &mine, nullptr);
  run([] { raise(SIGQUIT); });
  EXPECT_EQ(handled, 1);
  struct sigaction after {};
  sigaction(SIGQUIT, nullptr, &after);
  EXPECT_EQ(after.sa_handler, mine.sa_handler);
  signal(SIGQUIT, SIG_DFL);
  run([] {});
  sigaction(SIGQUIT, nullptr, &after);
  EXPECT_EQ(after.sa_handler, SIG_DFL) << "put back when the run ends";
}

TEST(SuspendedFrames, AreThoseOfTheParkedGoroutineAndCutAtTheLimit) {
  run([] {
    const auto c = make_chan<int>();
    who_calls = nullptr;
    spawns_it(c);
    rt::g* gp = until_it_waits();
    const void* pcs[64];
    const size_t n = rt::fiber_frames(gp->stack_state, pcs, 64);
    ASSERT_GE(n, 4u);
    ASSERT_LT(n, 64u);
    const auto inside = [&](auto* f) {
      const auto at = reinterpret_cast<uintptr_t>(f);
      size_t hits = 0;
      for (size_t i = 0; i < n; ++i) hits += reinterpret_cast<uintptr_t>(pcs[i]) - at < 400 ? 1 : 0;
      return hits;
    };
    EXPECT_GE(inside(&waits_here), 1u);
    EXPECT_GE(inside(&calls_it), 1u);
    const void* two[2];
    EXPECT_EQ(rt::fiber_frames(gp->stack_state, two, 2), 2u);
    EXPECT_EQ(two[1], pcs[1]);
    c.send(1);
  });
}

}  // namespace
}  // namespace warren

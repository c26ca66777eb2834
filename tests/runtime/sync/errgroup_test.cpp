// errgroup: the first failure, whatever it looks like, and the limit.
#include "warren/errgroup.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

#include "tests/death_style.h"
#include "tests/runtime/sync/waiting.h"
#include "warren/go.h"

namespace warren {
namespace {

using namespace std::chrono_literals;
using testing::until;

const std::error_code kBroken = std::make_error_code(std::errc::broken_pipe);

TEST(ErrGroup, SucceedsWhenAllDo) {
  run([] {
    errgroup g;
    std::atomic<int> n{0};
    for (int i = 0; i < 100; ++i) g.go([&] { ++n; });
    g.go([&]() -> std::error_code { return {}; });
    g.go([&] { return ++n; });  // an int is no failure
    EXPECT_FALSE(g.ctx().err());
    EXPECT_FALSE(g.wait());
    EXPECT_EQ(n, 101);
    EXPECT_EQ(g.ctx().err(), context_errc::canceled) << "it ends with wait";
  });
}

TEST(ErrGroup, TheFirstErrorCodeIsReturnedAndEndsTheContext) {
  run([] {
    errgroup g;
    g.go([&] {
      g.ctx().done().recv();
      return std::make_error_code(std::errc::io_error);  // later, and dropped
    });
    g.go([] { return kBroken; });
    EXPECT_EQ(g.wait(), kBroken);
    EXPECT_EQ(g.ctx().cause(), kBroken);
    EXPECT_EQ(g.wait(), kBroken);
  });
}

TEST(ErrGroup, TheFirstExceptionIsRethrown) {
  run([] {
    errgroup g;
    g.go([] { throw std::runtime_error("first"); });
    g.go([&] {
      g.ctx().done().recv();
      throw std::logic_error("second");
    });
    EXPECT_THROW(g.wait(), std::runtime_error);
    EXPECT_TRUE(g.ctx().exception());
  });
}

// The interface of std::expected.
struct expected_like {
  std::error_code e;
  bool has_value() const { return !e; }
  std::error_code error() const { return e; }
};
TEST(ErrGroup, ResultsThatLookLikeExpected) {
  run([] {
    errgroup g;
    g.go([] { return expected_like{}; });
    EXPECT_FALSE(g.wait());
    g.go([] { return expected_like{kBroken}; });
    EXPECT_EQ(g.wait(), kBroken);
  });
}

TEST(ErrGroup, EndsWithItsParent) {
  run([] {
    const auto c = with_cancel(background());
    errgroup g(c.ctx);
    g.go([&] { return sleep(g.ctx(), 1h); });
    c.cancel();
    EXPECT_EQ(g.wait(), context_errc::canceled);
  });
}

TEST(ErrGroup, TheLimitHolds) {
  run([] {
    errgroup g;
    g.set_limit(3);
    std::atomic<int> now{0}, most{0}, total{0};
    for (int i = 0; i < 500; ++i)
      g.go([&] {
        const int n = ++now;
        if (n > most) most = n;
        yield();
        ++total;
        --now;
      });
    EXPECT_FALSE(g.wait());
    EXPECT_EQ(total, 500);
    EXPECT_LE(most, 3);
    EXPECT_GT(most, 1);
  });
}

TEST(ErrGroup, TryGoDoesNotWait) {
  run([] {
    errgroup g;
    g.set_limit(1);
    const chan<unit> release = make_chan<unit>();
    EXPECT_TRUE(g.try_go([release] { release.recv(); }));
    EXPECT_FALSE(g.try_go([] {}));
    release.close();
    EXPECT_FALSE(g.wait());
    EXPECT_TRUE(g.try_go([] {}));
    EXPECT_FALSE(g.wait());
    g.set_limit(0);
    EXPECT_FALSE(g.try_go([] {}));
    g.set_limit(-1);
    EXPECT_TRUE(g.try_go([] {}));
  });
}

// The scope is left by an exception while they run: they are told, and waited for.
TEST(ErrGroup, TheDestructorWaits) {
  run([] {
    std::atomic<int> ended{0};
    try {
      errgroup g;
      for (int i = 0; i < 10; ++i)
        g.go([&] {
          g.ctx().done().recv();
          yield();
          ++ended;
          throw std::runtime_error("dropped");
        });
      throw std::logic_error("passes");
    } catch (const std::logic_error&) {
      EXPECT_EQ(ended, 10);
    }
    EXPECT_EQ(ended, 10);
  });
}

TEST(ErrGroup, ManyFailAtOnce) {
  run([] {
    for (int i = 0; i < 200; ++i) {
      errgroup group;
      for (int k = 0; k < 20; ++k)
        group.go([&, k]() -> std::error_code {
          if (k % 2 == 0) return kBroken;
          throw std::runtime_error("odd");
        });
      try {
        EXPECT_EQ(group.wait(), kBroken);
      } catch (const std::runtime_error& e) {
        EXPECT_STREQ(e.what(), "odd");
      }
    }
  });
}

struct throws_when_moved {
  throws_when_moved() = default;
  throws_when_moved(const throws_when_moved&) { throw std::runtime_error("moved"); }
  void operator()() const {}
};
TEST(ErrGroup, AClosureThatCannotBeMovedStartsNothing) {
  run([] {
    errgroup g;
    g.set_limit(1);
    const throws_when_moved f;
    EXPECT_THROW(g.go(f), std::runtime_error);
    g.go([] {});
    EXPECT_FALSE(g.wait());
  });
}

class ErrGroupDeathTest : public ::testing::Test {
 protected:
  ErrGroupDeathTest() { tests::choose_death_style(); }
};

TEST_F(ErrGroupDeathTest, TheLimitOfAGroupAtWork) {
  EXPECT_DEATH(run([] {
                 errgroup g;
                 g.go([&] { g.ctx().done().recv(); });
                 g.set_limit(2);
               }),
               "fatal error: goroutine 1: errgroup::set_limit.2. while 1 of its goroutines exist");
}

}  // namespace
}  // namespace warren

// Contexts when no goroutine can be made: what is begun is finished or undone, and the caller is told.
#include <gtest/gtest.h>

#include <atomic>
#include <optional>

#include "tests/death_style.h"
#include "tests/runtime/sync/newborn_hoard.h"
#include "warren/context.h"
#include "warren/go.h"

namespace warren {
namespace {

using namespace std::chrono_literals;
using tests::newborn_hoard;

// Each in a child: the limit on address space is for good.
void in_child(void (*f)()) {
  tests::choose_death_style();
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer takes all address space";
#endif
  if (tests::emulated()) GTEST_SKIP() << "emulators do not pass RLIMIT_AS on";
  EXPECT_EXIT(
      {
        setenv("WARREN_MAXPROCS", "1", 1);
        if (!tests::limit_goroutines()) _exit(3);
        f();
        _exit(testing::Test::HasFailure() ? 1 : 0);
      },
      testing::ExitedWithCode(0), "");
}

// after_func below a context that is cancelled: it cannot be started, but everything else of the tree ends, and the canceller is told.
TEST(Exhaustion, AnEndGoesThroughToItsEnd) {
  in_child([] {
    run([] {
      auto [top, cancel] = with_cancel(background());
      std::atomic<int> called{0};
      after_func(top, [&] { ++called; });
      auto [below, cancel_below] = with_cancel(top);
      after_func(below, [&] { ++called; });
      auto [lowest, cancel_lowest] = with_cancel(below);
      bool told = false;
      {
        newborn_hoard all;
        try {
          cancel();
        } catch (const std::bad_alloc&) {
          told = true;
        }
      }
      EXPECT_TRUE(told);
      EXPECT_EQ(top.err(), context_errc::canceled);
      EXPECT_EQ(below.err(), context_errc::canceled);
      EXPECT_EQ(lowest.err(), context_errc::canceled);
      EXPECT_FALSE(lowest.done().recv());
      EXPECT_EQ(called, 0);
      cancel();  // had ended: nothing more to tell
    });
  });
}

// A deadline needs a goroutine to be there beforehand. Without, the caller is told, and the parent does not know of anything.
TEST(Exhaustion, ADeadlineThatCannotBeHad) {
  in_child([] {
    run([] {
      auto [top, cancel] = with_cancel(background());
      bool told = false;
      {
        newborn_hoard all;
        try {
          static_cast<void>(with_timeout(top, 1h));
        } catch (const std::bad_alloc&) {
          told = true;
        }
        // Late already: needs none.
        auto [late, cancel_late] = with_timeout(top, -1s);
        EXPECT_EQ(late.err(), context_errc::deadline_exceeded);
      }
      EXPECT_TRUE(told);
      auto [soon, cancel_soon] = with_timeout(top, 1ms);
      EXPECT_FALSE(soon.done().recv());
      EXPECT_EQ(soon.err(), context_errc::deadline_exceeded);
      cancel();
    });
  });
}

}  // namespace
}  // namespace warren

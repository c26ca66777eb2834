// What a program sees of cond that is built without NDEBUG, as this one is, against a library that is built with it.
#ifdef NDEBUG
#error "to be compiled with -UNDEBUG"
#endif
#include <gtest/gtest.h>

#include "tests/death_style.h"
#include "tests/runtime/sync/waiting.h"
#include "warren/cond.h"
#include "warren/go.h"

namespace warren {
namespace {

using testing::until;

TEST(CondInDebug, GoesWhenNobodyWaits) {
  run([] {
    mutex m;
    wait_group done;
    bool waits = false;
    {
      cond c;
      done.add(1);
      go([&] {
        lock_guard hold(m);
        waits = true;
        c.wait(m);
        done.done();
      });
      until([&] { return lock_guard(m), waits; });
      c.broadcast();
      done.wait();
    }
  });
}

TEST(CondInDebugDeathTest, DestroyedWhileSomebodyWaits) {
  tests::choose_death_style();
  EXPECT_DEATH(run([] {
                 mutex m;
                 auto* const c = new cond;
                 bool waits = false;
                 go([&] {
                   lock_guard hold(m);
                   waits = true;
                   c->wait(m);
                 });
                 until([&] { return lock_guard(m), waits; });
                 delete c;
               }),
               "cond 0x[0-9a-f]+ is destroyed while a goroutine waits on it: broadcast");
}

}  // namespace
}  // namespace warren

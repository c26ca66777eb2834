// once_value: computed once, when asked for.
#include "warren/once_value.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <string>

#include "warren/gc.h"
#include "warren/go.h"
#include "warren/ptr.h"

namespace warren {
namespace {

TEST(OnceValue, ComputesOnceForAll) {
  run([] {
    std::atomic<int> calls{0};
    once_value value([&] {
      ++calls;
      yield();  // the others wait
      return std::string("computed");
    });
    wait_group wg;
    for (int i = 0; i < 100; ++i) wg.go([&] { EXPECT_EQ(value(), "computed"); });
    wg.wait();
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(&value(), &value());
  });
}

TEST(OnceValue, AfterAnExceptionTheNextTriesAgain) {
  run([] {
    int calls = 0;
    once_value value([&] {
      if (++calls < 3) throw std::runtime_error("not yet");
      return calls;
    });
    EXPECT_THROW(value(), std::runtime_error);
    EXPECT_THROW(value(), std::runtime_error);
    EXPECT_EQ(value(), 3);
    EXPECT_EQ(value(), 3);
  });
}

TEST(OnceValue, OnAGoroutinesStackItKeepsAPointer) {
  run([] {
    once_value value([] { return make<int>(4711); });
    value();
    gc();
    for (int k = 0; k < 2000; ++k) *make<int>() = -1;
    EXPECT_EQ(*value(), 4711);
  });
}

}  // namespace
}  // namespace warren

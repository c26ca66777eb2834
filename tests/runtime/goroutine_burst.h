// Many goroutines at once: what tests of stacks begin with.
#pragma once
#include <atomic>

#include "warren/go.h"

namespace warren::testing {

// Starts n goroutines, calls while_there when all of them run, and returns when all have ended.
template <class F>
void goroutine_burst(int n, F&& while_there) {
  std::atomic<int> begun{0}, ended{0};
  std::atomic<bool> end{false};
  for (int i = 0; i < n; ++i)
    go([&] {
      ++begun;
      while (!end) yield();
      ++ended;
    });
  while (begun < n) yield();
  while_there();
  end = true;
  while (ended < n) yield();
}

}  // namespace warren::testing

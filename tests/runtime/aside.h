// For tests that care what a stack holds: conservative scanning finds what a frame of before has left.
#pragma once
#include <warren/sync.h>

namespace warren::testing {

// Runs f on a goroutine of its own, and waits for it: nothing of it stays on our stack.
template <class F>
void aside(const F& f) {
  wait_group done;
  done.go([&f] { f(); });
  done.wait();
}

}  // namespace warren::testing

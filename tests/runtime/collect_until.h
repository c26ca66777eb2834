// What tests of objects that end wait with.
#pragma once
#include <cstddef>

#include "warren/gc.h"
#include "warren/go.h"

namespace warren::testing {

// Overwrites what earlier calls left on the stack below: conservative stacks forget late.
[[gnu::noinline]] inline void clobber_stack() {
  volatile char space[16384];
  for (size_t i = 0; i < sizeof space; ++i) space[i] = 0;
}

// Collects until the condition holds, letting each time run what the collection found for finalization; gives up after a hundred
// collections. (On a busy machine the finalizers' goroutine may fall behind any number of them.) Returns whether it holds.
template <class F>
bool collect_until(F&& holds) {
  for (int i = 0; i < 100 && !holds(); ++i) {
    clobber_stack();
    gc();
    do yield();
    while (read_mem_stats().gc.finalizers_waiting != 0);
  }
  return holds();
}

}  // namespace warren::testing

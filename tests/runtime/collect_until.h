// What tests of finalizers wait with.
#pragma once
#include "warren/gc.h"
#include "warren/go.h"

namespace warren::testing {

// Collects until the condition holds, letting each time run what the collection found for finalization; gives up after a hundred
// collections. (On a busy machine the finalizers' goroutine may fall behind any number of them.)
template <class F>
void collect_until(F&& holds) {
  for (int i = 0; i < 100 && !holds(); ++i) {
    gc();
    do yield();
    while (read_mem_stats().gc.finalizers_waiting != 0);
  }
}

}  // namespace warren::testing

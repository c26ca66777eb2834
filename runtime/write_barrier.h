// What the write barrier needs of the heap. The barrier is in every program that has goroutines, since what their closures capture passes
// it; the heap is in those that make collected objects, and tells of itself here when it is made (world.cpp).
#pragma once
#include <atomic>
#include <cstdint>

namespace warren::rt {

class barrier_buffer;

struct barriered_heap {
  // The reservation. No address is in it before it is known.
  std::atomic<uintptr_t> base{0}, bytes{0};
  // Takes a full buffer's words.
  std::atomic<void (*)(barrier_buffer&)> take{nullptr};

  bool contains(uintptr_t a) const noexcept { return a - base.load(std::memory_order_relaxed) < bytes.load(std::memory_order_relaxed); }
};
extern barriered_heap the_barriered_heap;

}  // namespace warren::rt

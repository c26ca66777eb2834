// Allocation for tests that have a heap of their own: allocate, and what it leaves to its caller.
#pragma once
#include "runtime/heap/allocate.h"

namespace warren::testing {

inline void* allocate_whole(rt::mcache& c, const rt::type_descriptor& t, size_t count, size_t bytes) {
  void* const at = rt::allocate(c, t, count, bytes);
  if (at == nullptr || bytes <= rt::kMaxSmallSize) return at;
  rt::large_object o(c.heap, at, t, count);
  while (o.finish_piece()) {
  }
  return at;
}

}  // namespace warren::testing

// mcentral: the spans of one span class that no mcache holds.
//
// Four lists: with and without free slots × swept and not yet swept in this cycle. Raising the heap's sweepgen by 2 exchanges swept and
// unswept, as the lists are chosen by a bit of it: no span is touched. The unswept lists must be empty by then (sweep termination).
#pragma once
#include "runtime/heap/mspan.h"
#include "runtime/os/cpu.h"
#include "runtime/os/mutex.h"

namespace warren::rt {

struct alignas(kCacheLine) mcentral {
  mutex lock;
  // Guarded by lock. Index: swept(sweepgen) or unswept(sweepgen).
  span_list partial[2];
  span_list full[2];

  static int swept(uint32_t sweepgen) noexcept { return static_cast<int>(sweepgen / 2 % 2); }
  static int unswept(uint32_t sweepgen) noexcept { return 1 - swept(sweepgen); }
};

}  // namespace warren::rt

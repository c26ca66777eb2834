// mcache: what a P allocates from without any lock. One span for each span class, the tiny block, a word of pages, a few unused span
// descriptors. Used by the owner of the P, in a bracket; by the collector while the world stands.
#pragma once
#include <array>

#include "runtime/heap/heap_counters.h"
#include "runtime/heap/mspan.h"
#include "runtime/heap/page_alloc.h"

namespace warren::rt {

class mheap;

struct mcache {
  explicit mcache(mheap& h) noexcept;
  // REQUIRES: flushed (mheap::flush). Gives pages and descriptors back.
  ~mcache() = default;
  mcache(const mcache&) = delete;
  mcache& operator=(const mcache&) = delete;

  mheap& heap;
  uintptr_t tiny = 0;       // the block tiny objects are placed into; 0: none
  uintptr_t tiny_used = 0;  // bytes of it that are taken
  bool black = false;       // a collection marks: new objects are black. Changed while the world stands
  std::array<std::atomic<mspan*>, kSpanClasses>
      alloc;  // never nullptr: a full dummy span stands for none. Atomic for readers of statistics
  page_cache pages;
  span_list spare_spans;
  cache_counters counts;
  uint64_t black_bytes = 0, black_objects = 0;  // made black since the marking began, as far as spans have left this cache
  uint64_t charged_bytes = 0;                   // added to the heap's live bytes since the owner last looked (and paid for them)
  int64_t mark_credit = 0;                      // bytes of marking its owners have done beyond what they owed
  mcache* next = nullptr;                       // list of all; guarded by mheap's lock

  // A slot of that class, or 0 if the span at hand is full.
  uintptr_t next_free_fast(uint8_t span_class, mspan** span) noexcept {
    mspan* const s = alloc[span_class].load(std::memory_order_relaxed);
    *span = s;
    return s->take();
  }
};

}  // namespace warren::rt

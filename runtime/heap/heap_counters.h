// What the heap counts, and where: events of the fast paths in the mcache of their P (one writer each), those behind a lock or a sweep in
// the heap.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>

#include "runtime/heap/size_class.h"

namespace warren::rt {

// A counter with one writer at a time: load and store, no lock prefix. Readers see some recent value.
class local_count {
 public:
  void add(uint64_t n = 1) noexcept { v_.store(v_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  uint64_t read() const noexcept { return v_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> v_{0};
};
// Any number of writers.
class shared_count {
 public:
  void add(uint64_t n = 1) noexcept { v_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t read() const noexcept { return v_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> v_{0};
};

struct cache_counters {
  local_count tiny_hits;        // tiny objects placed into the block at hand
  local_count tiny_blocks;      // tiny objects that needed a new one
  local_count refills;          // small allocations whose span at hand was full
  local_count mcentral_hits;    // refills served by a span with free slots
  local_count page_cache_hits;  // new spans from the P's page cache
  local_count mheap_hits;       // new spans from the page allocator
  local_count large;            // large objects
};

struct heap_counters {
  // By size class; class 0: large objects. An mcache adds to `mallocs` when it lets go of a span.
  std::array<shared_count, kSizeClasses> mallocs, frees;
  shared_count large_bytes_allocated, large_bytes_freed;
  shared_count grows;
  shared_count spans_swept;
  cache_counters retired;  // of mcaches that are gone; guarded by mheap's lock
};

}  // namespace warren::rt

// Roots: the words outside heap and stacks the collector reads.
//
// A root<T> owns a cell of a table. Any thread may work on roots, also one that a stop of the world does not hold, so every operation takes
// the set's lock, and the collector holds it from the first mark to the last: such a thread waits for the end of the pause. A goroutine
// cannot be stopped while it holds the lock (there is no safepoint inside), so the collector never waits for one that stands.
#pragma once
#include <cstddef>
#include <cstdint>

#include "runtime/os/critical.h"
#include "warren/detail/barrier.h"

namespace warren::rt {

class root_set {
 public:
  root_set() = default;
  ~root_set();
  root_set(const root_set&) = delete;
  root_set& operator=(const root_set&) = delete;

  detail::root_cell* make(void* value);                    // throws std::bad_alloc
  detail::root_cell* copy(const detail::root_cell* from);  // nullptr if that holds null
  void set(detail::root_cell** cell, void* value);
  void assign(detail::root_cell** cell, const detail::root_cell* from);
  void drop(detail::root_cell* cell) noexcept;

  // Words [lo, hi) are scanned conservatively until removed. For parts of the runtime with memory of their own. Throws std::bad_alloc.
  void add_range(const void* lo, const void* hi);
  // lo as it was added. Fatal if it was not.
  void remove_range(const void* lo) noexcept;

  // For the collector: holds the lock in between.
  void lock() noexcept { lock_.lock(); }
  void unlock() noexcept { lock_.unlock(); }
  // REQUIRES: locked. visit(value) for the value of every cell, then for every word of the ranges. Returns the number of words.
  template <class F>
  size_t for_each_word(F&& visit) const {
    size_t words = 0;
    for (const chunk* c = chunks_; c != nullptr; c = c->next) {
      for (size_t i = 0; i < kCellsPerChunk; ++i) {
        const uintptr_t v = reinterpret_cast<uintptr_t>(c->cells[i].value.load(std::memory_order_relaxed));
        if (v == 0 || (v & kFreeTag) != 0) continue;
        ++words;
        visit(v);
      }
    }
    for (size_t i = 0; i < range_count_; ++i) words += scan_range(ranges_[i], visit);
    return words;
  }
  size_t cells_in_use() const noexcept { return in_use_; }

 private:
  // A free cell holds the address of the next free one with the top bit set, which no user-space address has: a root may hold any other bit
  // pattern.
  static constexpr uintptr_t kFreeTag = uintptr_t{1} << 63;
  static constexpr size_t kChunkBytes = 16 * 1024;
  struct chunk;
  static constexpr size_t kCellsPerChunk = (kChunkBytes - 16) / sizeof(detail::root_cell);
  struct chunk {
    chunk* next;
    detail::root_cell cells[kCellsPerChunk];
  };
  static_assert(sizeof(chunk) <= kChunkBytes);
  struct range {
    const void* lo;
    const void* hi;
  };

  detail::root_cell* take();

  template <class F>
  static size_t scan_range(const range& r, F&& visit) {
    size_t words = 0;
    for (auto* p = static_cast<const uintptr_t*>(r.lo); p + 1 <= static_cast<const uintptr_t*>(r.hi); ++p) {
      ++words;
      visit(__atomic_load_n(p, __ATOMIC_RELAXED));
    }
    return words;
  }

  critical_mutex lock_;
  // Guarded by lock_.
  chunk* chunks_ = nullptr;
  detail::root_cell* free_ = nullptr;
  size_t in_use_ = 0;
  range* ranges_ = nullptr;
  size_t range_count_ = 0, range_capacity_ = 0;
};

}  // namespace warren::rt

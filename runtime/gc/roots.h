// Roots: the words outside heap and stacks the collector reads.
//
// A root<T> owns a cell of a table. Any thread may work on roots, also one that a stop of the world does not hold, so every operation takes
// the set's lock. The collector holds it when it begins and when it ends marking: such a thread waits for the end of the pause. In between
// cells are like slots of the heap: what an operation stores and what it overwrites is shaded, under the lock. So each chunk of cells is
// scanned once, in any order, and no thread that holds a root needs to be stopped. A goroutine cannot be stopped while it holds the lock,
// so the collector never waits for one that stands.
//
// Registered ranges are the exception: nobody shades what is stored there. They are scanned while the world stands, at the end of marking,
// and should be small.
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
  // What stores into cells are to do while a collection marks; nullptr: nothing. REQUIRES: locked.
  using shader = void (*)(void* arg, const void* object);
  void set_shader(shader shade, void* arg) noexcept {
    shade_ = shade;
    shade_arg_ = arg;
    cursor_ = chunks_;
  }
  // One chunk of cells that this marking has not looked at yet; false if there is none left. REQUIRES: locked. Chunks made meanwhile hold
  // only what was shaded.
  template <class F>
  bool scan_chunk(size_t* words, F&& visit) {
    const chunk* const c = cursor_;
    if (c == nullptr) return false;
    cursor_ = c->next;
    *words += scan_cells(*c, visit);
    return true;
  }
  // REQUIRES: locked. Every word of the ranges.
  template <class F>
  size_t for_each_range_word(F&& visit) const {
    size_t words = 0;
    for (size_t i = 0; i < range_count_; ++i) words += scan_range(ranges_[i], visit);
    return words;
  }
  // REQUIRES: locked. visit(value) for the value of every cell, then for every word of the ranges. Returns the number of words.
  template <class F>
  size_t for_each_word(F&& visit) const {
    size_t words = 0;
    for (const chunk* c = chunks_; c != nullptr; c = c->next) words += scan_cells(*c, visit);
    return words + for_each_range_word(visit);
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
  void shade(const void* object) const {
    if (shade_ != nullptr && object != nullptr) shade_(shade_arg_, object);
  }
  // A store into a cell in use.
  void store(detail::root_cell* cell, void* value) const {
    shade(cell->value.load(std::memory_order_relaxed));
    cell->value.store(value, std::memory_order_relaxed);
    shade(value);
  }
  template <class F>
  static size_t scan_cells(const chunk& c, F& visit) {
    size_t words = 0;
    for (size_t i = 0; i < kCellsPerChunk; ++i) {
      const uintptr_t v = reinterpret_cast<uintptr_t>(c.cells[i].value.load(std::memory_order_relaxed));
      if (v == 0 || (v & kFreeTag) != 0) continue;
      ++words;
      visit(v);
    }
    return words;
  }

  template <class F>
  static size_t scan_range(const range& r, F& visit) {
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
  shader shade_ = nullptr;
  void* shade_arg_ = nullptr;
  const chunk* cursor_ = nullptr;  // the next that scan_chunk looks at
  range* ranges_ = nullptr;
  size_t range_count_ = 0, range_capacity_ = 0;
};

}  // namespace warren::rt

#include "runtime/gc/roots.h"

#include <stdlib.h>
#include <sys/mman.h>

#include <mutex>
#include <new>

#include "runtime/os/fatal.h"

namespace warren::rt {

using detail::root_cell;

root_set::~root_set() {
  while (chunks_ != nullptr) {
    chunk* const c = chunks_;
    chunks_ = c->next;
    munmap(c, kChunkBytes);
  }
  free(ranges_);
}

root_cell* root_set::take() {
  if (free_ == nullptr) {
    void* const p = mmap(nullptr, kChunkBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    chunk* const c = new (p) chunk;
    c->next = chunks_;
    chunks_ = c;
    for (size_t i = kCellsPerChunk; i-- > 0;) {
      c->cells[i].value.store(reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(free_) | kFreeTag), std::memory_order_relaxed);
      free_ = &c->cells[i];
    }
  }
  root_cell* const cell = free_;
  free_ = reinterpret_cast<root_cell*>(reinterpret_cast<uintptr_t>(cell->value.load(std::memory_order_relaxed)) & ~kFreeTag);
  ++in_use_;
  return cell;
}

root_cell* root_set::make(void* value) {
  if (value == nullptr) return nullptr;
  std::lock_guard guard(lock_);
  root_cell* const cell = take();
  cell->value.store(value, std::memory_order_relaxed);
  shade(value);
  return cell;
}

root_cell* root_set::copy(const root_cell* from) {
  if (from == nullptr) return nullptr;
  std::lock_guard guard(lock_);  // the value must not be read before the lock is held: in between a collection could free what it points to
  void* const value = from->value.load(std::memory_order_relaxed);
  if (value == nullptr) return nullptr;
  root_cell* const cell = take();
  cell->value.store(value, std::memory_order_relaxed);
  shade(value);
  return cell;
}

void root_set::set(root_cell** cell, void* value) {
  if (*cell == nullptr && value == nullptr) return;
  std::lock_guard guard(lock_);
  if (*cell == nullptr) {
    *cell = take();
    (*cell)->value.store(value, std::memory_order_relaxed);
    shade(value);
  } else {
    store(*cell, value);
  }
}

void root_set::assign(root_cell** cell, const root_cell* from) {
  if (*cell == nullptr && from == nullptr) return;
  std::lock_guard guard(lock_);
  void* const value = from == nullptr ? nullptr : from->value.load(std::memory_order_relaxed);
  if (*cell == nullptr) {
    if (value == nullptr) return;
    *cell = take();
    (*cell)->value.store(value, std::memory_order_relaxed);
    shade(value);
  } else {
    store(*cell, value);
  }
}

void root_set::drop(root_cell* cell) noexcept {
  std::lock_guard guard(lock_);
  shade(cell->value.load(std::memory_order_relaxed));
  cell->value.store(reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(free_) | kFreeTag), std::memory_order_relaxed);
  free_ = cell;
  --in_use_;
}

void root_set::add_range(const void* lo, const void* hi) {
  std::lock_guard guard(lock_);
  if (range_count_ == range_capacity_) {
    const size_t capacity = range_capacity_ == 0 ? 16 : range_capacity_ * 2;
    void* const p = realloc(ranges_, capacity * sizeof(range));
    if (p == nullptr) throw std::bad_alloc();
    ranges_ = static_cast<range*>(p);
    range_capacity_ = capacity;
  }
  // Whole words only.
  const uintptr_t w = sizeof(void*);
  lo = reinterpret_cast<const void*>((reinterpret_cast<uintptr_t>(lo) + w - 1) / w * w);
  ranges_[range_count_++] = {lo, hi};
}

void root_set::remove_range(const void* lo) noexcept {
  std::lock_guard guard(lock_);
  const uintptr_t w = sizeof(void*);
  lo = reinterpret_cast<const void*>((reinterpret_cast<uintptr_t>(lo) + w - 1) / w * w);
  for (size_t i = 0; i < range_count_; ++i) {
    if (ranges_[i].lo != lo) continue;
    ranges_[i] = ranges_[--range_count_];
    return;
  }
  fatal("remove_range(%p): no such root range was added", lo);
}

}  // namespace warren::rt

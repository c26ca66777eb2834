#include "runtime/gc/weak.h"

#include <mutex>
#include <new>

namespace warren::rt {

size_t weak_table::bucket_of(uintptr_t target) const noexcept {
  return static_cast<size_t>((uint64_t{target} * 0x9e3779b97f4a7c15) >> 32) & (bucket_count_ - 1);
}

uint32_t weak_table::look_up(uintptr_t target) noexcept {
  if (bucket_count_ == 0) return kNone;
  uint32_t i = buckets_[bucket_of(target)];
  while (i != kNone && entries_[i].target != target) i = entries_[i].next;
  return i;
}

// Twice as many buckets, from fresh links.
bool weak_table::grow() noexcept {
  const size_t n = bucket_count_ == 0 ? 1024 : bucket_count_ * 2;
  if (n > (size_t{1} << 31) || !buckets_.reserve(n)) return false;
  bucket_count_ = n;
  for (size_t b = 0; b < n; ++b) buckets_[b] = kNone;
  for (uint32_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].cell == nullptr) continue;  // free, in a list of its own
    uint32_t& head = buckets_[bucket_of(entries_[i].target)];
    entries_[i].next = head;
    head = i;
  }
  return true;
}

detail::weak_cell* weak_table::find(const void* target) noexcept {
  std::lock_guard guard(lock_);
  const uint32_t i = look_up(reinterpret_cast<uintptr_t>(target));
  return i == kNone ? nullptr : found(i);
}

// REQUIRES: lock_.
detail::weak_cell* weak_table::found(uint32_t i) noexcept {
  if (keep_ != nullptr) keep_(keep_arg_, entries_[i].cell);
  return entries_[i].cell;
}

void* weak_table::lock(const detail::weak_cell* cell, const mheap& h) const noexcept {
  void* const target = cell->target.load(std::memory_order_relaxed);
  return judged_.load(std::memory_order_relaxed) && is_dead(h, reinterpret_cast<uintptr_t>(target)) ? nullptr : target;
}

void weak_table::begin_judged(void (*keep)(void* arg, const void* cell), void* arg) noexcept {
  std::lock_guard guard(lock_);
  keep_ = keep;
  keep_arg_ = arg;
  judged_.store(keep != nullptr, std::memory_order_relaxed);
}

detail::weak_cell* weak_table::insert(const void* target, detail::weak_cell* fresh) {
  std::lock_guard guard(lock_);
  const auto address = reinterpret_cast<uintptr_t>(target);
  if (const uint32_t i = look_up(address); i != kNone) return found(i);
  const size_t n = size_.load(std::memory_order_relaxed);
  if (n >= bucket_count_ && !grow()) throw std::bad_alloc();
  if (free_ == kNone) {
    if (!entries_.push({})) throw std::bad_alloc();
    free_ = static_cast<uint32_t>(entries_.size() - 1);
    entries_[free_].next = kNone;
  }
  const uint32_t i = free_;
  free_ = entries_[i].next;
  uint32_t& head = buckets_[bucket_of(address)];
  entries_[i] = {address, fresh, head};
  head = i;
  size_.store(n + 1, std::memory_order_relaxed);
  return fresh;
}

// In the order of the entries, which is mostly that of the targets in memory: a million entries took a sixtieth of the time that following
// the buckets took, which misses the cache three times for each.
template <class F>
bool weak_table::drop_if(size_t* at, size_t most, F&& gone) noexcept {
  std::lock_guard guard(lock_);
  size_t dropped = 0;
  const size_t end = entries_.size() - *at < most ? entries_.size() : *at + most;
  for (auto i = static_cast<uint32_t>(*at); i < end; ++i) {
    entry& e = entries_[i];
    if (e.cell == nullptr || !gone(e)) continue;
    uint32_t* link = &buckets_[bucket_of(e.target)];
    while (*link != i) link = &entries_[*link].next;
    *link = e.next;
    e = {0, nullptr, free_};
    free_ = i;
    ++dropped;
  }
  *at = end;
  size_.store(size_.load(std::memory_order_relaxed) - dropped, std::memory_order_relaxed);
  return end < entries_.size();
}

bool weak_table::clear_unreachable(const mheap& h, size_t* at, size_t most) noexcept {
  uint64_t cleared = 0;
  const bool more = drop_if(at, most, [&](entry& e) {
    if (!is_dead(h, e.target)) return false;
    e.cell->target.store(nullptr, std::memory_order_relaxed);
    ++cleared;
    return true;
  });
  cleared_.fetch_add(cleared, std::memory_order_relaxed);
  return more;
}

bool weak_table::drop_unused(const mheap& h, size_t* at, size_t most) noexcept {
  return drop_if(at, most, [&](entry& e) { return is_dead(h, reinterpret_cast<uintptr_t>(e.cell)); });
}

}  // namespace warren::rt

#include "runtime/gc/finalizer.h"

#include <algorithm>
#include <mutex>
#include <new>

#include "runtime/gc/weak.h"

namespace warren::rt {

void finalizer_set::add(finalizer f) {
  std::lock_guard guard(lock_);
  if (!queue_.reserve(queue_.size() + registered_.size() + 1) || !registered_.push(f)) throw std::bad_alloc();
  registered_count_.store(registered_.size(), std::memory_order_relaxed);
}

bool finalizer_set::take(finalizer* out) noexcept {
  std::lock_guard guard(lock_);
  if (takeable_ == 0) return false;
  // The last one that is ready; what was found behind it moves up by one.
  *out = queue_[--takeable_];
  queue_.remove(takeable_);
  if (shade_ != nullptr) shade_(shade_arg_, out->object);
  waiting_.store(takeable_, std::memory_order_relaxed);
  run_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void finalizer_set::begin_marking() noexcept {
  std::lock_guard guard(lock_);
  unmarked_from_ = 0;
  to_mark_.store(takeable_ != 0, std::memory_order_relaxed);
}

bool finalizer_set::mark_some(marker& m, size_t most) noexcept {
  if (!to_mark()) return false;
  std::lock_guard guard(lock_);
  const size_t from = unmarked_from_;
  const size_t end = std::min(takeable_, from + most);
  while (unmarked_from_ < end) m.mark_word(reinterpret_cast<uintptr_t>(queue_[unmarked_from_++].object));
  if (unmarked_from_ >= takeable_) to_mark_.store(false, std::memory_order_relaxed);
  return unmarked_from_ > from;
}

bool finalizer_set::find_unreachable(const mheap& h, size_t* at, size_t most, uint64_t* found) noexcept {
  std::lock_guard guard(lock_);
  size_t i = *at;
  for (; most > 0 && i < registered_.size(); --most) {
    const finalizer f = registered_[i];
    if (!is_dead(h, reinterpret_cast<uintptr_t>(f.object))) {
      ++i;
      continue;
    }
    queue_.push(f);  // cannot fail: add() made room
    registered_.remove(i);
    ++*found;
  }
  *at = i;
  registered_count_.store(registered_.size(), std::memory_order_relaxed);
  return i < registered_.size();
}

void finalizer_set::publish() noexcept {
  std::lock_guard guard(lock_);
  unmarked_from_ = takeable_;
  takeable_ = queue_.size();
  to_mark_.store(unmarked_from_ < takeable_, std::memory_order_relaxed);
  waiting_.store(takeable_, std::memory_order_relaxed);
}

}  // namespace warren::rt

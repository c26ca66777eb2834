#include "runtime/gc/finalizer.h"

#include <mutex>
#include <new>

#include "runtime/gc/weak.h"

namespace warren::rt {

void finalizer_set::add(finalizer f) {
  std::lock_guard guard(lock_);
  if (!ready_.reserve(ready_.size() + registered_.size() + 1) || !registered_.push(f)) throw std::bad_alloc();
}

bool finalizer_set::take(finalizer* out) noexcept {
  std::lock_guard guard(lock_);
  if (ready_.size() == 0) return false;
  *out = ready_.pop();
  if (shade_ != nullptr) shade_(shade_arg_, out->object);
  waiting_.store(ready_.size(), std::memory_order_relaxed);
  run_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void finalizer_set::mark_ready(marker& m) noexcept {
  std::lock_guard guard(lock_);
  for (size_t i = 0; i < ready_.size(); ++i) m.mark_word(reinterpret_cast<uintptr_t>(ready_.begin()[i].object));
}

bool finalizer_set::any_unreachable(const mheap& h) noexcept {
  std::lock_guard guard(lock_);
  for (const finalizer& f : registered_)
    if (is_dead(h, reinterpret_cast<uintptr_t>(f.object))) return true;
  return false;
}

size_t finalizer_set::find_unreachable(mheap& h, marker& m) noexcept {
  std::lock_guard guard(lock_);
  // All of them first, then the marking: what one unreachable object points to may be another, and both are found in this cycle.
  const size_t before = ready_.size();
  for (size_t i = 0; i < registered_.size();) {
    const finalizer f = registered_.begin()[i];
    const object_ref o = h.find_object(reinterpret_cast<uintptr_t>(f.object));
    if (o && o.span->is_marked(o.index)) {
      ++i;
      continue;
    }
    ready_.push(f);  // cannot fail: add() made room
    registered_.remove(i);
  }
  for (size_t i = before; i < ready_.size(); ++i) m.mark_word(reinterpret_cast<uintptr_t>(ready_.begin()[i].object));
  waiting_.store(ready_.size(), std::memory_order_relaxed);
  return ready_.size() - before;
}

}  // namespace warren::rt

#include "runtime/gc/finalizer.h"

#include <sys/mman.h>

#include <mutex>
#include <new>

namespace warren::rt {

finalizer_list::~finalizer_list() {
  if (items_ != nullptr) munmap(items_, capacity_ * sizeof(finalizer));
}

bool finalizer_list::reserve(size_t n) noexcept {
  if (n <= capacity_) return true;
  size_t capacity = capacity_ == 0 ? 4096 / sizeof(finalizer) : capacity_;
  while (capacity < n) capacity *= 2;
  void* const p = items_ == nullptr
                      ? mmap(nullptr, capacity * sizeof(finalizer), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                      : mremap(items_, capacity_ * sizeof(finalizer), capacity * sizeof(finalizer), MREMAP_MAYMOVE);
  if (p == MAP_FAILED) return false;
  items_ = static_cast<finalizer*>(p);
  capacity_ = capacity;
  return true;
}

bool finalizer_list::push(finalizer f) noexcept {
  if (!reserve(size_ + 1)) return false;
  items_[size_++] = f;
  return true;
}

void finalizer_set::add(finalizer f) {
  std::lock_guard guard(lock_);
  if (!ready_.reserve(ready_.size() + registered_.size() + 1) || !registered_.push(f)) throw std::bad_alloc();
}

bool finalizer_set::take(finalizer* out) noexcept {
  std::lock_guard guard(lock_);
  if (ready_.size() == 0) return false;
  *out = ready_.pop();
  waiting_.store(ready_.size(), std::memory_order_relaxed);
  run_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void finalizer_set::mark_ready(marker& m) noexcept {
  std::lock_guard guard(lock_);
  for (size_t i = 0; i < ready_.size(); ++i) m.mark_word(reinterpret_cast<uintptr_t>(ready_.begin()[i].object));
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
  m.drain();
  waiting_.store(ready_.size(), std::memory_order_relaxed);
  return ready_.size() - before;
}

}  // namespace warren::rt

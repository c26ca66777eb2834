// An array that grows without malloc, by mremap: for tables a collection reads or writes while the world stands, when somebody may hold
// malloc's lock.
#pragma once
#include <sys/mman.h>

#include <cstddef>
#include <type_traits>

namespace warren::rt {

template <class T>
class mapped_array {
  static_assert(std::is_trivially_copyable_v<T>, "elements move with their pages");

 public:
  mapped_array() = default;
  ~mapped_array() {
    if (items_ != nullptr) munmap(static_cast<void*>(items_), capacity_ * sizeof(T));
  }
  mapped_array(const mapped_array&) = delete;
  mapped_array& operator=(const mapped_array&) = delete;

  // false: out of memory, nothing has changed.
  bool reserve(size_t n) noexcept {
    if (n <= capacity_) return true;
    size_t capacity = capacity_ == 0 ? 4096 / sizeof(T) : capacity_;
    while (capacity < n) capacity *= 2;
    void* const p = items_ == nullptr ? mmap(nullptr, capacity * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                                      : mremap(static_cast<void*>(items_), capacity_ * sizeof(T), capacity * sizeof(T), MREMAP_MAYMOVE);
    if (p == MAP_FAILED) return false;
    items_ = static_cast<T*>(p);
    capacity_ = capacity;
    return true;
  }
  bool push(T v) noexcept {
    if (!reserve(size_ + 1)) return false;
    items_[size_++] = v;
    return true;
  }
  T pop() noexcept { return items_[--size_]; }
  // The last one takes its place.
  void remove(size_t i) noexcept { items_[i] = items_[--size_]; }
  void clear() noexcept { size_ = 0; }

  T& operator[](size_t i) noexcept { return items_[i]; }
  const T& operator[](size_t i) const noexcept { return items_[i]; }
  T* begin() noexcept { return items_; }
  T* end() noexcept { return items_ + size_; }
  size_t size() const noexcept { return size_; }
  size_t capacity() const noexcept { return capacity_; }

 private:
  T* items_ = nullptr;
  size_t size_ = 0, capacity_ = 0;
};

}  // namespace warren::rt

// weak: a pointer that does not keep its object, and knows when it is gone.
//
//   warren::weak<session> w(s);                       // s: ptr<session>
//   if (warren::ptr<session> p = w.lock()) { … }      // null once the session was found unreachable
//
// As Go's weak.Pointer: two weak pointers are equal if the pointers they were made from were, also after the object is gone, so they can be
// keys. They become null in the collection that finds the object unreachable, before its finalizer is queued; an object that a finalizer
// brings back into use has lost them. Which collection that is nobody can say: the collector runs when it likes, a stale word on some stack
// may keep the object longer, and objects below 16 bytes without pointers share blocks and live as long as their neighbours.
//
// A weak<T> lives where a ptr may. 8 bytes; the first one to an address makes a cell of 8 bytes more.
#pragma once
#include <atomic>
#include <cstddef>
#include <functional>
#include <type_traits>

#include "warren/detail/bulk.h"
#include "warren/hash.h"
#include "warren/ptr.h"

namespace warren {

namespace detail {
struct weak_cell {
  using collected = noscan;  // that is the point
  std::atomic<void*> target;
};
ptr<weak_cell> weak_cell_of(const volatile void* target);
void* lock_weak(const weak_cell* cell) noexcept;  // while a collection marks: shaded
}  // namespace detail

template <class T>
class weak {
 public:
  using element_type = T;
  using warren_relocatable = void;

  constexpr weak() noexcept = default;
  constexpr weak(std::nullptr_t) noexcept {}
  // On a goroutine; may run a collection. Throws std::bad_alloc. An address outside the collected heap never becomes null.
  template <class U>
  requires(std::is_convertible_v<U*, T*>) explicit weak(const ptr<U>& p) : cell_(detail::weak_cell_of(static_cast<T*>(p.get()))) {}
  template <class U>
  requires(std::is_convertible_v<U*, T*>) weak& operator=(const ptr<U>& p) { return *this = weak(p); }

  // The object, kept from now on; or null. On a goroutine. Costs two loads and a test; while a collection marks, a call. Never parks.
  ptr<T> lock() const noexcept {
    const detail::weak_cell* const c = cell_.get();
    if (c == nullptr) return {};
    void* target = c->target.load(std::memory_order_relaxed);
    detail::compiler_barrier();
    if ((detail::barrier_flags.load(std::memory_order_relaxed) & detail::barrier_marking) != 0) [[unlikely]] {
      target = detail::lock_weak(c);
    } else {
      // Was it cleared since? runtime/gc/weak.h says when that matters.
      detail::compiler_barrier();
      if (c->target.load(std::memory_order_relaxed) != target) [[unlikely]]
        target = nullptr;
    }
    return ptr<T>(static_cast<T*>(target));
  }
  // Once true it stays true. False says nothing about the next moment: lock().
  bool expired() const noexcept {
    const detail::weak_cell* const c = cell_.get();
    return c == nullptr || c->target.load(std::memory_order_relaxed) == nullptr;
  }
  void reset() noexcept { cell_ = nullptr; }

  template <class U>
  friend bool operator==(const weak& a, const weak<U>& b) noexcept {
    return a.identity() == b.identity();
  }
  // Made from null, or default-constructed. (A pointer whose object is gone is not equal to null, it is equal to its copies.)
  friend bool operator==(const weak& a, std::nullptr_t) noexcept { return a.identity() == nullptr; }
  // What makes it equal to others: constant for all weak pointers to one address.
  const void* identity() const noexcept { return cell_.get(); }

 private:
  ptr<detail::weak_cell> cell_;
  WARREN_FIELDS(cell_);
};

template <class T>
weak(const ptr<T>&) -> weak<T>;

template <class T>
struct hash<weak<T>> {
  size_t operator()(const weak<T>& w) const noexcept { return detail::mix_hash(reinterpret_cast<uintptr_t>(w.identity())); }
};

}  // namespace warren

template <class T>
struct std::hash<warren::weak<T>> : warren::hash<warren::weak<T>> {};

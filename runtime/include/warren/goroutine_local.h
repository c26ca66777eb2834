// goroutine_local: a variable of which every goroutine has its own.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "warren/ptr.h"

namespace warren {

namespace detail {
// Of the running goroutine: the value with that id, nullptr if it has none. Ids count from 1. Fatal without a goroutine.
void* find_local(uint32_t id);
void set_local(uint32_t id, const ptr<void>& value, void (*destroy)(void*));  // REQUIRES: it has none. Throws std::bad_alloc
ptr<void> take_local(uint32_t id) noexcept;                                   // null if it has none
uint32_t new_local_id();

// Where a value lies. Its end is called for by hand: it needs no finalizer.
template <class T>
struct local_box {
  using collected = ambiguous;
  alignas(T) std::byte storage[sizeof(T)];
  T* value() noexcept { return std::launder(reinterpret_cast<T*>(storage)); }
};
}  // namespace detail

// For what has to be at hand without being passed: a random generator, a scratch buffer, what an allocator remembers. (thread_local does
// not do: a goroutine changes threads.) What belongs to a request belongs into a context, which follows it through all its goroutines.
//
//   constinit warren::goroutine_local<std::mt19937> random;
//   … (*random)() …
//
// A goroutine's value is made when it is first used there, and destroyed at the end of the goroutine, those of several goroutine_locals in
// the opposite order of their making; goroutines that are abandoned at the end of warren::run do not get that far. Values are collected
// memory: they may hold ptrs. New goroutines start without values: inheriting them would cost every go() a look, and copy values whose
// owner does not know; a closure captures what it is to have.
//
// A global or static variable: each takes a number for ever. On a goroutine only; costs about what a thread_local in a shared library does.
template <class T>
class goroutine_local {
 public:
  // Values begin as T().
  constexpr goroutine_local() noexcept = default;
  // Values begin as init().
  constexpr explicit goroutine_local(T (*init)()) noexcept : init_(init) {}
  goroutine_local(const goroutine_local&) = delete;
  goroutine_local& operator=(const goroutine_local&) = delete;

  // The running goroutine's value. Throws std::bad_alloc, and what making the value throws.
  T& operator*() const {
    T* v = find();
    if (v == nullptr) [[unlikely]]
      v = init_ == nullptr ? &emplace() : &emplace(init_());
    return *v;
  }
  T* operator->() const { return &**this; }

  // The same, but nullptr if it was not made yet.
  T* find() const {
    auto* b = static_cast<detail::local_box<T>*>(detail::find_local(id()));
    return b == nullptr ? nullptr : b->value();
  }

  // Replaces it by T(args…).
  template <class... A>
  T& emplace(A&&... args) const {
    reset();
    const ptr<detail::local_box<T>> b = make<detail::local_box<T>>();
    ::new (static_cast<void*>(b->storage)) T(std::forward<A>(args)...);
    try {
      detail::set_local(id(), b, [](void* box) { static_cast<detail::local_box<T>*>(box)->value()->~T(); });
    } catch (...) {
      b->value()->~T();
      throw;
    }
    return *b->value();
  }

  // Destroys it, if it was made.
  void reset() const {
    if (const ptr<void> b = detail::take_local(id())) static_cast<detail::local_box<T>*>(b.get())->value()->~T();
  }

 private:
  uint32_t id() const {
    const uint32_t id = id_.load(std::memory_order_relaxed);
    return id != 0 ? id : take_id();
  }
  uint32_t take_id() const {
    uint32_t none = 0;
    const uint32_t fresh = detail::new_local_id();
    return id_.compare_exchange_strong(none, fresh, std::memory_order_relaxed) ? fresh : none;
  }

  mutable std::atomic<uint32_t> id_{0};
  T (*init_)() = nullptr;
};

}  // namespace warren

// One value of any movable type as an object of its own on the collected heap: closures of timers and contexts, values of contexts.
#pragma once
#include <type_traits>
#include <utility>

#include "warren/chan.h"
#include "warren/detail/bulk.h"
#include "warren/ptr.h"

namespace warren::detail {

// How the collector treats it is decided as for the slots of a channel's buffer: by the map that T states, else every word of it may be a
// pointer; and it has a finalizer only if T has something to destroy that the collector cannot know of.
enum class box_kind { described, plain, finalized };
template <class T>
constexpr box_kind box_kind_of = elem_type_of<T>::finalize()           ? box_kind::finalized
                                 : std::is_trivially_destructible_v<T> ? box_kind::plain
                                                                       : box_kind::described;

template <class T, box_kind = box_kind_of<T>>
struct boxed {  // described: T says where its pointers are
  T value;
  WARREN_FIELDS(value);
};
template <class T>
struct boxed<T, box_kind::plain> {
  using collected = ambiguous;
  T value;
};
template <class T>
struct boxed<T, box_kind::finalized> {
  using collected = finalized_with<ambiguous>;
  T value;
};

// A closure of which only the address is kept, and how to call it there.
struct boxed_function {
  ptr<void> closure;
  void (*call)(void* closure) = nullptr;

  explicit operator bool() const noexcept { return call != nullptr; }
  void operator()() const { call(closure.get()); }
};

// Moves f to the collected heap. On a goroutine. Throws std::bad_alloc and what moving f throws.
template <class F>
boxed_function box_function(F&& f) {
  using fn = std::decay_t<F>;
  static_assert(std::is_invocable_v<fn&>, "warren: the function takes no arguments: capture what it needs");
  const ptr<boxed<fn>> b = make<boxed<fn>>(std::forward<F>(f));
  shade_words(b.get(), sizeof(boxed<fn>));  // captured addresses were stored without a barrier
  return {b, [](void* closure) { static_cast<boxed<fn>*>(closure)->value(); }};
}

}  // namespace warren::detail

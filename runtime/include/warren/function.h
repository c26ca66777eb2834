// function: std::function whose closure lies on the collected heap.
//
//   warren::function<int(int)> add = [n](int x) { return n + x; };   // n may be a ptr
//
// A reference to a closure, as in Go: 16 bytes, copied without copying the closure. Copies share its state (a `mutable` lambda counts on
// for all of them), and closures that can only be moved are welcome.
//
// Where closures live. One without state, a function's address, and a trivially copyable one of up to a word that is not `mutable` take no
// memory: they lie in the function's own word, which the collector takes for whatever it is. Everything else is an object of its own. A
// larger buffer (std::function has two words) was rejected: a closure's words are ambiguous, and copying such words between objects would
// need the barrier that an address and a length of code do not.
//
// How the collector sees a closure. A lambda's captures cannot be listed, so every word of it is scanned; a class with WARREN_FIELDS is
// scanned precisely. A captured ptr keeps its object; so does a captured T* or reference, from the moment the function is made. But the
// collector does not see a `mutable` lambda store to a captured T*: capture a ptr for that. If the closure has a destructor that may do
// more than end ptrs (any lambda that captures something not trivially destructible), it is run by the finalizers (see
// warren::finalized).
//
// Made on goroutines; making one may run a collection and throws std::bad_alloc and what moving the closure throws. Calling an empty
// function throws std::bad_function_call. Called by two goroutines at once it is as safe as what it calls.
#pragma once
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include "warren/detail/boxed.h"
#include "warren/detail/bulk.h"
#include "warren/ptr.h"

namespace warren {

template <class Signature>
class function;

namespace detail {
[[noreturn]] void throw_bad_function_call();

template <class F, class R, class... A>
concept callable_as = std::is_invocable_r_v<R, F&, A...>;
// Calling a const one changes nothing in it, and its words mean the same anywhere.
template <class F, class R, class... A>
constexpr bool fits_into_word = std::is_trivially_copyable_v<F> && sizeof(F) <= sizeof(void*) &&
                                alignof(F) <= alignof(void*) && std::is_invocable_r_v<R, const F&, A...>;
}  // namespace detail

template <class R, class... A>
class function<R(A...)> {
 public:
  using result_type = R;
  using warren_relocatable = void;

  constexpr function() noexcept = default;
  constexpr function(std::nullptr_t) noexcept {}
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, function> && detail::callable_as<std::decay_t<F>, R, A...>) function(F&& f) {
    using fn = std::decay_t<F>;
    if constexpr (std::is_pointer_v<std::remove_cvref_t<F>> || std::is_member_pointer_v<fn>) {
      if (f == nullptr) return;
    }
    if constexpr (detail::fits_into_word<fn, R, A...>) {
      const fn copy(std::forward<F>(f));
      void* word = nullptr;
      std::memcpy(&word, std::addressof(copy), sizeof(fn));
      closure_ = ptr<void>(word);
      call_ = &call_word<fn>;
    } else {
      using box = detail::boxed<fn>;
      const ptr<box> b = make<box>(std::forward<F>(f));
      detail::shade_words(b.get(), sizeof(box));  // captured addresses were stored without a barrier
      detail::publish();
      closure_ = b;
      call_ = &call_box<fn>;
    }
  }
  function(const function&) noexcept = default;
  function(function&& o) noexcept : closure_(o.closure_), call_(o.call_) { o.reset(); }
  function& operator=(const function&) noexcept = default;
  function& operator=(function&& o) noexcept {
    if (this != &o) {
      closure_ = o.closure_;
      call_ = o.call_;
      o.reset();
    }
    return *this;
  }
  function& operator=(std::nullptr_t) noexcept {
    reset();
    return *this;
  }

  explicit operator bool() const noexcept { return call_ != nullptr; }
  R operator()(A... args) const {
    if (call_ == nullptr) [[unlikely]]
      detail::throw_bad_function_call();
    return call_(closure_, std::forward<A>(args)...);
  }
  void swap(function& o) noexcept { std::swap(*this, o); }

  friend bool operator==(const function& f, std::nullptr_t) noexcept { return f.call_ == nullptr; }
  // The same closure (or equal words of one that lies in the function), not an equal one.
  friend bool operator==(const function& a, const function& b) noexcept { return a.call_ == b.call_ && a.closure_ == b.closure_; }

 private:
  template <class F>
  static R call_word(const ptr<void>& closure, A... args) {
    const void* word = closure.get();
    alignas(F) std::byte place[sizeof(F)];
    std::memcpy(place, &word, sizeof(F));
    const F& f = *std::launder(reinterpret_cast<const F*>(place));
    if constexpr (std::is_void_v<R>) {
      std::invoke(f, std::forward<A>(args)...);
    } else {
      return std::invoke(f, std::forward<A>(args)...);
    }
  }
  // The closure outlives the call even if the call assigns to the function: by this ptr.
  template <class F>
  static R call_box(const ptr<void>& closure, A... args) {
    const ptr<void> keep = closure;
    F& f = static_cast<detail::boxed<F>*>(keep.get())->value;
    if constexpr (std::is_void_v<R>) {
      std::invoke(f, std::forward<A>(args)...);
    } else {
      return std::invoke(f, std::forward<A>(args)...);
    }
  }
  void reset() noexcept {
    closure_ = nullptr;
    call_ = nullptr;
  }

  ptr<void> closure_;  // or the closure itself
  R (*call_)(const ptr<void>& closure, A... args) = nullptr;
  WARREN_FIELDS(closure_, call_);
};

namespace detail {
template <class T>
struct call_signature;
template <class F, class R, class... A>
struct call_signature<R (F::*)(A...)> {
  using type = R(A...);
};
template <class F, class R, class... A>
struct call_signature<R (F::*)(A...) const> {
  using type = R(A...);
};
template <class F, class R, class... A>
struct call_signature<R (F::*)(A...) noexcept> {
  using type = R(A...);
};
template <class F, class R, class... A>
struct call_signature<R (F::*)(A...) const noexcept> {
  using type = R(A...);
};
}  // namespace detail
template <class R, class... A>
function(R (*)(A...)) -> function<R(A...)>;
template <class F>
function(F) -> function<typename detail::call_signature<decltype(&F::operator())>::type>;

}  // namespace warren

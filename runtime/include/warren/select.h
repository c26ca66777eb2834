// select: wait for whichever of several channel operations can proceed first.
//
//   select(recv(requests, [&](std::optional<request> r) { … }),
//          send(results, r, [&] { … }),
//          after(10ms, [&] { … }));
//
// Exactly one case is executed: its communication happens, then its function runs, on the calling goroutine, outside all locks. If
// several can proceed, one is chosen at random; if none can, `otherwise` runs if there is one, else the goroutine parks until one can, at
// most until the earliest `after`. Operations on nil channels never proceed; a receive from a closed channel always does, with nullopt; a
// send on a closed channel is a fatal error. select returns the index of the case. Without cases it parks for ever. At most 64 channel
// cases.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include "warren/chan.h"

namespace warren {

inline constexpr size_t max_select_cases = 64;

namespace detail {
class select_operation;
}

// One case, without its function: what select works on. It lies on the stack of the goroutine that selects, as a temporary of the select
// expression as a rule; anywhere else the collector would not see a value received into it.
class select_case {
 public:
  select_case(const select_case&) = delete;
  select_case& operator=(const select_case&) = delete;

 protected:
  enum class kind : uint8_t { recv, send, otherwise, after };
  select_case(kind k, detail::hchan* c, void* elem) noexcept : kind_(k), c_(c), elem_(elem) {}
  explicit select_case(std::chrono::nanoseconds d) noexcept : kind_(kind::after), c_(nullptr), delay_ns_(d.count()) {}
  ~select_case() = default;

  friend class detail::select_operation;  // runtime/sync/select.cpp

  kind kind_;
  bool has_value_ = false;  // recv: the storage at elem_ holds a received value
  detail::hchan* const c_;
  union {
    void* elem_;
    int64_t delay_ns_;
  };
  alignas(void*) std::byte waiter_[48];  // a sudog while the select is parked
};

// The form for a number of cases known only at run time: make recv_case, send_case, otherwise_case, after_case objects, pass pointers to
// them, and look at the returned index. Cases may be used again for the next select. A case refers to its channel by a bare pointer: keep
// the chan itself reachable.
int select(std::span<select_case* const> cases);

template <class T>
class recv_case : public select_case {
 public:
  explicit recv_case(const chan<T>& c) noexcept : select_case(kind::recv, c.raw(), nullptr) { elem_ = slot_.place(); }
  ~recv_case() {
    if (has_value_) slot_.take();
  }
  // After this case was chosen: the value, or nullopt if the channel was closed. Once.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // g++ 12 under -fsanitize=address: copying an empty optional
#endif
  std::optional<T> take() {
    if (!has_value_) return std::nullopt;
    has_value_ = false;
    return std::optional<T>(slot_.take());
  }
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

 private:
  detail::elem_slot<T> slot_;
};

// Sends a copy made now, or, from an rvalue, the object itself: that is moved from only if the case is chosen, and must live until then
// (within one select expression it does). Sent once: to use the case again make it anew.
template <class T>
class send_case : public select_case {
 public:
  send_case(const chan<T>& c, T&& v) noexcept : select_case(kind::send, c.raw(), std::addressof(v)) {}
  send_case(const chan<T>& c, const T& v) : select_case(kind::send, c.raw(), nullptr), copy_(v) { elem_ = std::addressof(*copy_); }
  template <class U>
  send_case(const chan<T>& c, std::in_place_t, U&& v)
      : select_case(kind::send, c.raw(), nullptr), copy_(std::in_place, std::forward<U>(v)) {
    elem_ = std::addressof(*copy_);
  }

 private:
  std::optional<T> copy_;
};

class otherwise_case : public select_case {
 public:
  otherwise_case() noexcept : select_case(kind::otherwise, nullptr, nullptr) {}
};

class after_case : public select_case {
 public:
  explicit after_case(std::chrono::nanoseconds d) noexcept : select_case(d) {}
};

namespace detail {
struct do_nothing {
  void operator()() const noexcept {}
};

// A case with its function.
template <class Case, class F>
class select_clause : public Case {
 public:
  template <class G, class... A>
  explicit select_clause(G&& f, A&&... a) : Case(std::forward<A>(a)...), f_(std::forward<G>(f)) {}
  void run() {
    if constexpr (requires(Case & c, F & f) { f(c.take()); }) {
      f_(this->take());
    } else {
      f_();
    }
  }

 private:
  F f_;
};
template <class T>
struct is_select_clause : std::false_type {};
template <class Case, class F>
struct is_select_clause<select_clause<Case, F>> : std::true_type {};
template <class T>
concept clause = is_select_clause<std::remove_cvref_t<T>>::value;
}  // namespace detail

// Receives from c; f is called with std::optional<T> (nullopt: closed and drained), or without arguments.
template <class T, class F = detail::do_nothing>
[[nodiscard]] auto recv(const chan<T>& c, F&& f = F{}) {
  using fn = std::decay_t<F>;
  static_assert(std::is_invocable_v<fn&, std::optional<T>> || std::is_invocable_v<fn&>, "recv(c, f): f takes std::optional<T>, or nothing");
  return detail::select_clause<recv_case<T>, fn>(std::forward<F>(f), c);
}

// Sends v on c, then calls f(). From an rvalue v is moved only if this case is chosen.
template <class T, class U, class F = detail::do_nothing>
requires std::is_same_v<std::remove_cvref_t<U>, T>
[[nodiscard]] auto send(const chan<T>& c, U&& v, F&& f = F{}) {
  using fn = std::decay_t<F>;
  static_assert(std::is_invocable_v<fn&>, "send(c, v, f): f takes no arguments");
  return detail::select_clause<send_case<T>, fn>(std::forward<F>(f), c, std::forward<U>(v));
}
// The same for a value that has to be converted to T first.
template <class T, class U, class F = detail::do_nothing>
requires(!std::is_same_v<std::remove_cvref_t<U>, T> && std::is_convertible_v<U, T>)
    [[nodiscard]] auto send(const chan<T>& c, U&& v, F&& f = F{}) {
  using fn = std::decay_t<F>;
  static_assert(std::is_invocable_v<fn&>, "send(c, v, f): f takes no arguments");
  return detail::select_clause<send_case<T>, fn>(std::forward<F>(f), c, std::in_place, std::forward<U>(v));
}

// Runs f if no other case can proceed at once: the select then never parks. At most one.
template <class F = detail::do_nothing>
[[nodiscard]] auto otherwise(F&& f = F{}) {
  static_assert(std::is_invocable_v<std::decay_t<F>&>, "otherwise(f): f takes no arguments");
  return detail::select_clause<otherwise_case, std::decay_t<F>>(std::forward<F>(f));
}

// Runs f if no other case could proceed for d. d ≤ 0: as otherwise. If there are several, the shortest counts.
template <class F = detail::do_nothing>
[[nodiscard]] auto after(std::chrono::nanoseconds d, F&& f = F{}) {
  static_assert(std::is_invocable_v<std::decay_t<F>&>, "after(d, f): f takes no arguments");
  return detail::select_clause<after_case, std::decay_t<F>>(std::forward<F>(f), d);
}

// See the head of this file. Throws what the chosen case's function throws.
template <detail::clause... C>
int select(C&&... cases) {
  static_assert(sizeof...(C) <= max_select_cases + 2, "select: too many cases; at most 64 channel cases");
  if constexpr (sizeof...(C) == 0) {
    return select(std::span<select_case* const>());
  } else {
    select_case* const list[] = {static_cast<select_case*>(std::addressof(cases))...};
    const int chosen = select(std::span<select_case* const>(list));
    int i = 0;
    static_cast<void>(((i++ == chosen ? (cases.run(), true) : false) || ...));
    return chosen;
  }
}

}  // namespace warren

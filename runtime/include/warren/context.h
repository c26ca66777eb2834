// Contexts: what a piece of work carries along on its way through goroutines and calls: whether somebody still waits for it, until when,
// and values that belong to the request. With Go's semantics.
//
//   auto c = with_timeout(ctx, 200ms);          // cancelled in 200 ms, or when ctx is
//   cancel_guard guard(c.cancel);               // … or when this scope is left: what it holds is let go
//   go([ctx = c.ctx, out] { … select(recv(ctx.done(), …), send(out, …)); });
//   if (c.ctx.err() == context_errc::deadline_exceeded) …
//
// A context is passed as the first parameter, by const reference or by value, to whatever may wait. A context is never changed: what has a
// nearer deadline or one more value is a new one, its child. Cancelling a context cancels its descendants, and nothing else.
#pragma once
#include <chrono>
#include <cstdint>
#include <exception>
#include <optional>
#include <system_error>
#include <utility>

#include "warren/chan.h"
#include "warren/detail/boxed.h"
#include "warren/ptr.h"

namespace warren {

// Why a context is over.
enum class context_errc {
  canceled = 1,           // equivalent to std::errc::operation_canceled
  deadline_exceeded = 2,  // equivalent to std::errc::timed_out
};
const std::error_category& context_category() noexcept;
inline std::error_code make_error_code(context_errc e) noexcept { return {static_cast<int>(e), context_category()}; }
}  // namespace warren
template <>
struct std::is_error_code_enum<warren::context_errc> : std::true_type {};

namespace warren {

class context;

namespace detail {
struct context_node;
struct cancel_state;
ptr<context_node> new_value_node(const ptr<context_node>& parent, const void* key, const ptr<void>& value);
const void* find_value(const context_node* n, const void* key) noexcept;
struct context_access;
}  // namespace detail

// The name of a value of type T in contexts. Lives for ever: a global or a static member.
//   inline constinit warren::context_key<user> current_user;
template <class T>
class context_key {
 public:
  constexpr context_key() = default;
  context_key(const context_key&) = delete;
  context_key& operator=(const context_key&) = delete;

 private:
  char identity_ = 0;  // keys are told apart by their addresses
};

// A handle, copied freely, 8 bytes; a default-constructed one is the background: never cancelled, no deadline, no values, costs nothing.
// Like a ptr it belongs on goroutine stacks, in closures of goroutines and in collected objects; anywhere else keep a root_context.
// All operations may be called by any goroutine at any time. Only done() and the functions that make contexts need a goroutine.
class context {
 public:
  using clock = std::chrono::steady_clock;

  constexpr context() noexcept = default;

  // A channel that is closed when the context is over; nil, which is never ready, if that cannot happen. The same for every call; made by
  // the first. Do not send on it or close it. Throws std::bad_alloc.
  chan<unit> done() const;

  // What is the matter: nothing yet (false), canceled or deadline_exceeded. Once set it stays. It is set before done() is closed.
  std::error_code err() const noexcept;

  // Why in particular: what was given to with_cancel_cause's function or to with_deadline, by the one who ended this context or the
  // ancestor through which it ended; err() if nothing was given.
  std::error_code cause() const noexcept;
  // The exception that was given as the cause; null if none was.
  std::exception_ptr exception() const;
  // Nothing while err() is nothing. Then rethrows exception(), or throws std::system_error(cause()).
  void check() const;

  // When it will be over at the latest, if that is known.
  std::optional<clock::time_point> deadline() const noexcept;

  // The value that the nearest with_value of that key gave; nullptr if there is none. Valid while the context (or a descendant) is kept.
  template <class T>
  const T* value(const context_key<T>& key) const noexcept {
    return static_cast<const T*>(detail::find_value(n_.get(), &key));
  }

  // The same context?
  friend bool operator==(const context& a, const context& b) noexcept { return a.n_ == b.n_; }

 private:
  friend class root_context;
  friend struct detail::context_access;
  template <class T>
  friend context with_value(const context& parent, const context_key<T>& key, T value);
  explicit context(const ptr<detail::context_node>& n) noexcept : n_(n) {}

  ptr<detail::context_node> n_;
  WARREN_FIELDS(n_);
};

// The context that the others descend from.
inline context background() noexcept { return {}; }

// Ends a context. A handle, copied freely; may be called often and by several goroutines, the first call counts. When it returns, the
// context and its descendants are over, their done() closed, the functions of after_func started. Does not wait for those who work. Never
// parks, but is a safepoint. On a goroutine: a thread outside closes a channel (root_chan) on which a goroutine waits that calls this.
class cancel_func {
 public:
  cancel_func() noexcept = default;
  // Nothing for a default-constructed one.
  void operator()() const;

 protected:
  friend struct detail::context_access;
  explicit cancel_func(const ptr<detail::cancel_state>& s) noexcept : s_(s) {}
  ptr<detail::cancel_state> s_;
  WARREN_FIELDS(s_);
};

class cancel_cause_func : public cancel_func {
 public:
  cancel_cause_func() noexcept = default;
  using cancel_func::operator();
  // The cause to be told by cause() and exception(). An exception's object is not seen by the collector: it must not hold a ptr (a root is
  // fine).
  void operator()(std::error_code cause) const;
  void operator()(const std::exception_ptr& cause) const;

 private:
  friend struct detail::context_access;
  explicit cancel_cause_func(const ptr<detail::cancel_state>& s) noexcept : cancel_func(s) {}
  WARREN_FIELDS_WITH_BASE(cancel_func);
};

// Calls it at the end of a scope.
class [[nodiscard]] cancel_guard {
 public:
  explicit cancel_guard(const cancel_func& f) noexcept : f_(f) {}
  ~cancel_guard() { f_(); }
  cancel_guard(const cancel_guard&) = delete;
  cancel_guard& operator=(const cancel_guard&) = delete;

 private:
  cancel_func f_;
};

template <class Cancel>
struct [[nodiscard]] cancellable {
  context ctx;
  // To be called in every case, once the work is done: until then the parent keeps the child (and a deadline its timer).
  Cancel cancel;
};

// Children of parent. On a goroutine; throw std::bad_alloc.
cancellable<cancel_func> with_cancel(const context& parent);
cancellable<cancel_cause_func> with_cancel_cause(const context& parent);
// Over with deadline_exceeded at d at the latest; cause is then its cause(). If parent's deadline is earlier, that one counts.
cancellable<cancel_func> with_deadline(const context& parent, context::clock::time_point d, std::error_code cause = {});
cancellable<cancel_func> with_timeout(const context& parent, std::chrono::nanoseconds d, std::error_code cause = {});
// parent's values, but neither its end nor its deadline: for work that has to be finished after the request is gone.
context without_cancel(const context& parent);

// parent with a value more. T is any movable type; it may hold collected pointers; it is destroyed, if that means anything, some time after
// the last context that leads to it is gone. Values are for what belongs to a request and passes through code that does not know of it
// (identity, trace), not for parameters.
template <class T>
context with_value(const context& parent, const context_key<T>& key, T value) {
  const ptr<detail::boxed<T>> b = make<detail::boxed<T>>(std::move(value));
  return context(detail::new_value_node(parent.n_, &key, ptr<void>(static_cast<void*>(&b->value))));
}

// Answer of after_func.
class context_hook {
 public:
  context_hook() noexcept = default;
  // The function will not be called for the context's end any more. true: this call saw to that; false: its goroutine was started, or stop
  // was called before. Does not wait for it. On a goroutine.
  bool stop() const;

 private:
  friend struct detail::context_access;
  explicit context_hook(const ptr<detail::cancel_state>& s) noexcept : s_(s) {}
  ptr<detail::cancel_state> s_;
  WARREN_FIELDS(s_);
};

namespace detail {
context_hook call_after(const context& ctx, const boxed_function& f);
}

// Calls f() on a goroutine of its own when ctx is over; at once, if it is. The context keeps f until then. Throws std::bad_alloc, and what
// moving f throws.
template <class F>
context_hook after_func(const context& ctx, F&& f) {
  return detail::call_after(ctx, detail::box_function(std::forward<F>(f)));
}

// Parks for at least d, but not beyond the end of ctx: then returns its err() at once. d ≤ 0 does not park.
std::error_code sleep(const context& ctx, std::chrono::nanoseconds d);

// Keeps a context from anywhere: globals, malloc'ed objects, threads the runtime did not start. See root<T>. The queries may be called by
// any thread.
class root_context {
 public:
  root_context() noexcept = default;
  root_context(const context& c) : n_(c.n_) {}

  std::error_code err() const noexcept;
  std::optional<context::clock::time_point> deadline() const noexcept;

  // On a goroutine: an ordinary handle.
  context get() const noexcept { return context(ptr<detail::context_node>(n_)); }
  operator context() const noexcept { return get(); }

 private:
  root<detail::context_node> n_;
};

}  // namespace warren

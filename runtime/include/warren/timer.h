// Timers and tickers: channels that deliver the time, functions that run later. With Go's semantics, those of Go 1.23 and later.
//
//   ticker every(1s);
//   for (bool on = true; on;) select(recv(every.c(), [&] { … }), recv(ctx.done(), [&] { on = false; }));
//
//   timer t = after_func(5s, [=] { conn.close(); });
//   … if (t.stop()) …                                   // true: it will not run
//
// For one wait with a limit, select's after(d) is cheaper than any of these: it makes nothing.
#pragma once
#include <chrono>
#include <cstdint>
#include <utility>

#include "warren/chan.h"
#include "warren/detail/boxed.h"
#include "warren/ptr.h"

namespace warren {

namespace detail {
struct timer_state;
ptr<timer_state> new_channel_timer(int64_t delay_ns, int64_t period_ns);
ptr<timer_state> new_function_timer(int64_t delay_ns, const boxed_function& f);
}  // namespace detail

// One event in the future: a value on a channel (timer t(d)) or a function (after_func). A handle, copied freely, to an object on the
// collected heap; a default-constructed one is nil and only good to be assigned to. Like a ptr, it belongs on goroutine stacks and in
// collected objects.
//
// No stale values: once stop() or reset() has returned, no receive from c() gets a time from before. c() is unbuffered to whoever asks
// (size and capacity are 0), but nobody need wait in it at the moment the timer fires: the value is kept until it is received, or the timer
// is stopped or reset. A channel timer that nobody can reach any more, and whose channel nobody can reach, is freed, fired or not; one with
// a function lives until it has fired or is stopped.
//
// On a goroutine, all of it; any goroutine, also at the same time. Times are of the monotonic clock. Nothing here parks. Timers belong to
// the warren::run they were started in: at its end they are stopped for good, until reset.
class timer {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  constexpr timer() noexcept = default;
  // Sends the time on c() in d (d ≤ 0: at once), once. Throws std::bad_alloc.
  explicit timer(std::chrono::nanoseconds d) : t_(detail::new_channel_timer(d.count(), 0)) {}

  // The channel; nil for a timer that was made with a function. The values are times at which the timer fired. It is never closed: not by
  // stop either.
  chan<time_point> c() const noexcept;

  // Prevents the event. true: this call did. false: it had happened (the value was received; the function's goroutine was started, and may
  // have ended or not), or the timer was stopped before. A value that was sent and not received counts as not happened, and is discarded.
  bool stop() const;

  // stop(), then as if made anew with d. Returns what stop() would have. With a function: the former call may still run when the next
  // begins. Throws std::bad_alloc.
  bool reset(std::chrono::nanoseconds d) const;

  explicit operator bool() const noexcept { return static_cast<bool>(t_); }

 private:
  template <class F>
  friend timer after_func(std::chrono::nanoseconds d, F&& f);
  explicit timer(const ptr<detail::timer_state>& t) noexcept : t_(t) {}

  ptr<detail::timer_state> t_;
  WARREN_FIELDS(t_);
};

// Calls f() in d, on a goroutine of its own. f may capture collected pointers; it is kept while the timer can be reached, also after it ran
// (for reset). Throws std::bad_alloc, and what moving f throws.
template <class F>
timer after_func(std::chrono::nanoseconds d, F&& f) {
  return timer(detail::new_function_timer(d.count(), detail::box_function(std::forward<F>(f))));
}

// The time, every d. A slow receiver misses ticks: at most one waits for it. As timer in all else, and it, too, is freed when nobody can
// reach it or its channel, stopped or not.
class ticker {
 public:
  using time_point = timer::time_point;

  constexpr ticker() noexcept = default;
  // REQUIRES: d > 0; anything else is a fatal error. Throws std::bad_alloc.
  explicit ticker(std::chrono::nanoseconds d);

  chan<time_point> c() const noexcept;
  // No tick is received after this. Does not close the channel.
  void stop() const;
  // The next tick comes in d from now, then every d. Also after stop. REQUIRES: d > 0.
  void reset(std::chrono::nanoseconds d) const;

  explicit operator bool() const noexcept { return static_cast<bool>(t_); }

 private:
  ptr<detail::timer_state> t_;
  WARREN_FIELDS(t_);
};

// A channel that delivers the time once, in d: timer(d).c(). (Go's time.After.)
inline chan<timer::time_point> time_after(std::chrono::nanoseconds d) { return timer(d).c(); }
// A channel that delivers the time every d: ticker(d).c(), or nil for d ≤ 0. (Go's time.Tick.)
inline chan<timer::time_point> tick(std::chrono::nanoseconds d) { return d.count() <= 0 ? chan<timer::time_point>() : ticker(d).c(); }

}  // namespace warren

// call_context: how long a call may take, why it was ended before its time, and the warren::context that tells its handler.
//
// The owner of the connection ends a call; the handler looks, or waits on the context. Most handlers ask for no context, so it is made by
// the first that does, and published by one compare-and-swap: two callers get the same. end() stores the cause, then looks for a context;
// who makes one publishes it, then looks at the cause: all seq_cst, so at least one of the two sees the other and cancels the context.
// Cancelling it twice does no harm.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

#include <warren/context.h>
#include <warren/grpc/context.h>
#include <warren/grpc/status.h>
#include <warren/ptr.h>

#include "runtime/os/clock.h"

namespace warren::grpc {

class call_context {
 public:
  using clock = server_context::clock;

  ~call_context() { delete context_.load(std::memory_order_relaxed); }

  // --- owner's ---
  // From now on it may take so many nanoseconds. REQUIRES: no handler runs.
  void begin(int64_t now, int64_t timeout) noexcept { deadline_ns_ = now > INT64_MAX - timeout ? INT64_MAX : now + timeout; }
  int64_t deadline_ns() const noexcept { return deadline_ns_; }  // nanotime; 0: none; INT64_MAX: later than any timer
  bool passed(int64_t now) const noexcept { return deadline_ns_ != 0 && now >= deadline_ns_; }
  // Ends the call, whose handler may run. false: it was ended before. wake: what is to be done before the context is cancelled.
  template <class Wake>
  bool end(status_code why, Wake wake) noexcept {
    status_code none = status_code::ok;
    if (!cause_.compare_exchange_strong(none, why, std::memory_order_seq_cst)) return false;
    wake();
    if (why != status_code::deadline_exceeded) cancel();  // that one its own deadline ends, and with the right error
    return true;
  }
  // Only the context: of a call that has come to its end.
  void cancel() noexcept {
    if (root<cell>* const box = context_.load(std::memory_order_seq_cst)) (*box)->cancel();
  }

  // --- anybody's ---
  // Why the call was ended; ok: it was not. Passing the deadline counts before the owner has heard of it: a handler that computes may look
  // before the timer's news has come through.
  status_code cause() const noexcept {
    const status_code c = cause_.load(std::memory_order_acquire);
    if (c == status_code::ok && deadline_ns_ != 0 && rt::nanotime() >= deadline_ns_) return status_code::deadline_exceeded;
    return c;
  }
  // Has the owner ended it? The cheaper question.
  bool ended() const noexcept { return cause_.load(std::memory_order_relaxed) != status_code::ok; }
  std::optional<clock::time_point> deadline() const noexcept {
    if (deadline_ns_ == 0 || deadline_ns_ == INT64_MAX) return std::nullopt;
    return clock::time_point(std::chrono::nanoseconds(deadline_ns_));  // nanotime and steady_clock are the same clock
  }
  warren::context context();

  // Nobody uses it.
  void reset() noexcept {
    deadline_ns_ = 0;
    cause_.store(status_code::ok, std::memory_order_relaxed);
    if (context_.load(std::memory_order_relaxed) != nullptr) delete context_.exchange(nullptr, std::memory_order_relaxed);
  }

 private:
  using cell = cancellable<cancel_func>;

  int64_t deadline_ns_ = 0;
  std::atomic<status_code> cause_{status_code::ok};  // set once, by the owner
  std::atomic<root<cell>*> context_{nullptr};        // made by the first context()
};

}  // namespace warren::grpc

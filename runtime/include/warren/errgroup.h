// errgroup: goroutines that work on one thing, of which the first failure is everybody's.
#pragma once
#include <atomic>
#include <exception>
#include <system_error>
#include <type_traits>
#include <utility>

#include "warren/cond.h"
#include "warren/context.h"
#include "warren/go.h"
#include "warren/sync.h"

namespace warren {

// After golang.org/x/sync/errgroup.
//
//   errgroup g(ctx);                                   // g.ctx() ends with the first failure
//   g.set_limit(8);
//   for (const auto& url : urls) g.go([&] { return fetch(g.ctx(), url); });
//   if (std::error_code e = g.wait()) return e;        // or throws what one of them threw
//
// A function fails by throwing, or by what it returns: a std::error_code other than zero, or a result whose has_value() is false and whose
// error() is (or converts to) a std::error_code (std::expected's interface). Functions that return void or anything of another kind do not
// fail that way.
//
// wait() says how it went: it rethrows the first failure if that was an exception and returns it if it was an error code. Later failures
// are dropped: as a rule they follow from the first.
//
// Belongs on a goroutine's stack. Its destructor waits, too, if wait() was not called (because an exception passes through): it ends ctx()
// first and drops what went wrong. So the functions may refer to what was made before the group.
class errgroup {
 public:
  // Without a parent, ctx() still ends with the first failure; it has no deadline and no values.
  explicit errgroup(const context& parent = {}) : own_(with_cancel_cause(parent)) {}
  ~errgroup();
  errgroup(const errgroup&) = delete;
  errgroup& operator=(const errgroup&) = delete;

  // Ends with the first failure (which is its cause), or when wait() returns.
  const context& ctx() const noexcept { return own_.ctx; }

  // At most n of the group's goroutines at a time; go() waits for one to end; negative: no limit. A fatal error while some exist.
  void set_limit(int n);

  // Starts f on a goroutine. Parks while the limit is reached. Throws what moving f throws, and std::bad_alloc; then nothing was started.
  template <class F>
  void go(F&& f) {
    begin();
    start(std::forward<F>(f));
  }
  // Starts f if the limit allows it now.
  template <class F>
  [[nodiscard]] bool try_go(F&& f) {
    if (!try_begin()) return false;
    start(std::forward<F>(f));
    return true;
  }

  // Parks until all have ended; see above. May be called again: after more go(), say. The first failure stays.
  std::error_code wait();

 private:
  template <class F>
  void start(F&& f) {
    try {
      warren::go([this, fn = std::decay_t<F>(std::forward<F>(f))]() mutable {
        {
          auto mine = std::move(fn);  // what it has captured is gone before the group counts it as ended
          call(mine);
        }
        end();
      });
    } catch (...) {
      end();
      throw;
    }
  }
  template <class F>
  void call(F& f) noexcept {
    using result = std::invoke_result_t<F&>;
    try {
      if constexpr (std::is_same_v<std::remove_cvref_t<result>, std::error_code>) {
        if (const std::error_code e = f()) fail(e, nullptr);
      } else if constexpr (requires(const std::remove_reference_t<result>& r) {
                             static_cast<bool>(r.has_value());
                             std::error_code(r.error());
                           }) {
        const auto& r = f();
        if (!r.has_value()) fail(std::error_code(r.error()), nullptr);
      } else {
        static_cast<void>(f());
      }
    } catch (...) {
      fail({}, std::current_exception());
    }
  }
  void begin();
  bool try_begin();
  void end();
  void fail(std::error_code code, const std::exception_ptr& exception) noexcept;

  cancellable<cancel_cause_func> own_;
  wait_group running_;
  int limit_ = -1;             // constant while goroutines exist
  std::atomic<int> count_{0};  // goroutines; kept under m_ if there is a limit
  mutex m_;
  cond below_limit_;
  bool failed_ WARREN_GUARDED_BY(m_) = false;
  std::error_code code_ WARREN_GUARDED_BY(m_);
  std::exception_ptr exception_ WARREN_GUARDED_BY(m_);
};

}  // namespace warren

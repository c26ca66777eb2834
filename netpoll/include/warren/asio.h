// Asio on goroutines, for what netpoll has no sockets of its own for: Asio timers, serial ports, resolvers, libraries written for Asio.
//
//   asio::steady_timer t(warren::asio_context(), 1s);
//   t.async_wait(warren::park);                              // parks this goroutine; throws asio::system_error on failure
//   asio::error_code ec;
//   size_t n = port.async_read_some(asio::buffer(b), warren::park(ec));   // the other overload: the error goes to ec
//
// warren::park          a completion token: any asynchronous operation, composed ones too, blocks the calling goroutine only. The
//                       result is the handler's arguments without the error code: nothing, the one value, or a std::tuple.
// warren::executor      an executor on the scheduler: what is posted, dispatched or deferred to it runs as a goroutine of its own, and so
//                       may do what goroutines may. Handlers of objects made on it therefore run as goroutines.
// warren::asio_context  an asio::io_context that runs on one thread of its own, made at the first use, for Asio's reactor. Handlers that
//                       have no other executor run on that thread: it is not a goroutine, they must not park.
//
// Collected pointers (ptr) in what is given to Asio. A function that a goroutine posts, dispatches or defers to warren::executor itself may
// capture them: it goes into the new goroutine's closure at once, and the collector sees it from then on. Whatever Asio keeps lies in
// memory that the collector does not look at: a handler that waits for an operation, what is queued in a strand, what goes through
// any_io_executor, and what a thread outside posts. There, capture a root.
//
// What this costs: an operation that has to wait passes through Asio's own epoll and thread, and one wake-up of another thread; a
// tcp_conn's does not. Prefer <warren/net.h> for TCP, UDP and unix sockets; asio::read, asio::read_until and asio::ssl::stream work on a
// tcp_conn directly.
//
// Cancelling: an operation that is waited for with park is cancelled as Asio says, by the object's cancel() or close(), from a function
// posted to the object's executor (Asio's objects are not safe to use from two threads at once).
// The end of warren::run with operations under way: their goroutines are abandoned, as all that still park then; handlers that come later
// ready nobody. Posting to warren::executor between runs: the functions run with the next one that uses the executor.
#pragma once

#ifndef ASIO_STANDALONE
#define ASIO_STANDALONE 1
#endif

#include <asio/async_result.hpp>
#include <asio/error.hpp>
#include <asio/execution.hpp>
#include <asio/io_context.hpp>
#include <asio/system_error.hpp>
#include <asio/system_executor.hpp>
#include <exception>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "warren/go.h"

namespace warren {

// Any thread. The context is never destroyed.
asio::io_context& asio_context();

namespace detail {

// A function that a thread outside wants to be run as a goroutine.
struct posted {
  virtual ~posted() = default;
  virtual void run() = 0;
  posted* next = nullptr;
};
void post_to_scheduler(std::unique_ptr<posted> p);
// On a goroutine: true, and what other threads post is waited for from now on. Throws net_error, std::bad_alloc.
bool posts_from_goroutine();

// A goroutine waits until another thread says so; between the two. The event of netpoll/event.h.
class completion {
 public:
  completion();
  ~completion();
  void set() noexcept;
  void wait();

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace detail

// Meets Asio's executor requirements (asio::execution::executor); one value only, all are equal.
class executor {
 public:
  executor() noexcept = default;

  // Any thread. f runs as a goroutine; an exception that leaves it ends the process, as with warren::go. On a goroutine a safepoint. Throws
  // what moving f throws, and std::bad_alloc.
  template <class F>
  void execute(F&& f) const {
    if (detail::posts_from_goroutine()) {
      warren::go([fn = std::decay_t<F>(std::forward<F>(f))]() mutable { std::move(fn)(); });
      return;
    }
    struct job final : detail::posted {
      explicit job(F&& g) : fn(std::forward<F>(g)) {}
      void run() override { std::move(fn)(); }
      std::decay_t<F> fn;
    };
    detail::post_to_scheduler(std::make_unique<job>(std::forward<F>(f)));
  }

  // No thread to be had for the context: the process ends, as it does where Asio itself needs one.
  asio::execution_context& query(asio::execution::context_t) const noexcept { return asio_context(); }  // NOLINT(bugprone-exception-escape)
  static constexpr asio::execution::blocking_t query(asio::execution::blocking_t) noexcept { return asio::execution::blocking.never; }
  // Already so: nothing that is posted runs in the caller.
  executor require(asio::execution::blocking_t::never_t) const noexcept { return *this; }

  friend bool operator==(const executor&, const executor&) noexcept { return true; }
  friend bool operator!=(const executor&, const executor&) noexcept { return false; }
};

// The completion token. park(ec) is the variant that reports into ec instead of throwing.
struct park_token {
  asio::error_code* ec = nullptr;
  constexpr park_token operator()(asio::error_code& out) const noexcept { return park_token{&out}; }
};
inline constexpr park_token park{};

namespace detail {

// What an operation leaves for the goroutine that waits. Shared with the handler: when a run ends the goroutine's stack goes, but the
// operation may complete later.
template <class... Values>
struct parked_result {
  completion done;
  asio::error_code ec;
  std::exception_ptr thrown;
  std::optional<std::tuple<Values...>> values;
};

// Runs wherever the operation completes: storing and readying may be done on any thread, so no hop through another executor is needed.
template <class... Values>
struct park_handler {
  using executor_type = asio::system_executor;
  executor_type get_executor() const noexcept { return {}; }
  std::shared_ptr<parked_result<Values...>> to = std::make_shared<parked_result<Values...>>();

  void finish(Values... v) {
    to->values.emplace(std::move(v)...);
    to->done.set();
  }
};

template <class... Values>
auto values_of(parked_result<Values...>& r) {
  if constexpr (sizeof...(Values) == 0) {
    return;
  } else if constexpr (sizeof...(Values) == 1) {
    return std::get<0>(std::move(*r.values));
  } else {
    return std::move(*r.values);
  }
}

template <class Initiation, class Handler, class... Values, class... Args>
auto park_until_done(park_token token, Initiation&& initiation, const std::shared_ptr<parked_result<Values...>>& shared, Handler h,
                     Args&&... args) {
  parked_result<Values...>& r = *shared;
  std::forward<Initiation>(initiation)(std::move(h), std::forward<Args>(args)...);
  r.done.wait();
  if (r.thrown) std::rethrow_exception(r.thrown);
  if (token.ec != nullptr) {
    *token.ec = r.ec;
  } else if (r.ec) {
    throw asio::system_error(r.ec);
  }
  return values_of(r);
}

}  // namespace detail

}  // namespace warren

namespace asio {

// Operations whose handler takes an error code first.
template <class... Values>
class async_result<warren::park_token, void(asio::error_code, Values...)> {
 public:
  template <class Initiation, class... Args>
  static auto initiate(Initiation&& initiation, warren::park_token token, Args&&... args) {
    struct handler : warren::detail::park_handler<std::decay_t<Values>...> {
      void operator()(const asio::error_code& ec, Values... v) {
        this->to->ec = ec;
        this->finish(std::move(v)...);
      }
    };
    handler h;
    const auto r = h.to;
    return warren::detail::park_until_done(token, std::forward<Initiation>(initiation), r, std::move(h), std::forward<Args>(args)...);
  }
};

// … an exception first (asio::co_spawn and the like).
template <class... Values>
class async_result<warren::park_token, void(std::exception_ptr, Values...)> {
 public:
  template <class Initiation, class... Args>
  static auto initiate(Initiation&& initiation, warren::park_token token, Args&&... args) {
    struct handler : warren::detail::park_handler<std::decay_t<Values>...> {
      void operator()(const std::exception_ptr& e, Values... v) {
        this->to->thrown = e;
        this->finish(std::move(v)...);
      }
    };
    handler h;
    const auto r = h.to;
    return warren::detail::park_until_done(token, std::forward<Initiation>(initiation), r, std::move(h), std::forward<Args>(args)...);
  }
};

// … or nothing that can fail (asio::post).
template <>
class async_result<warren::park_token, void()> {
 public:
  template <class Initiation, class... Args>
  static void initiate(Initiation&& initiation, warren::park_token token, Args&&... args) {
    struct handler : warren::detail::park_handler<> {
      void operator()() { this->finish(); }
    };
    handler h;
    const auto r = h.to;
    warren::detail::park_until_done(token, std::forward<Initiation>(initiation), r, std::move(h), std::forward<Args>(args)...);
  }
};

}  // namespace asio

// Goroutines: run, go, yield, sleep, blocking.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace warren {

// Size of a goroutine's stack. The default suits handlers; pages are backed as they are touched, so a larger class costs address space
// only. (Four times these under a sanitizer.)
enum class stack_size : uint8_t {
  normal,  // 64 KiB
  large,   // 256 KiB
  huge,    // 1 MiB
};

namespace detail {
struct newborn;  // a goroutine that has not run yet: a queue entry with its closure

// What the runtime needs to know of a closure. One static instance per closure type.
struct closure_type {
  size_t size;
  size_t align;
  void (*run)(void* closure);      // moves the closure to the goroutine's stack, gives its old place back, calls it
  void (*destroy)(void* closure);  // for a goroutine that never ran
};
void* new_goroutine(const closure_type& type, stack_size stack, newborn** out);  // place for the closure
void start_goroutine(newborn* nb) noexcept;                                      // after the closure was constructed there
void cancel_goroutine(newborn* nb) noexcept;                                     // its construction threw
void closure_moved_out() noexcept;                                               // called by closure_type::run on the new goroutine

template <class F>
struct closure_of {
  static void run(void* place) {
    F* there = static_cast<F*>(place);
    F fn(std::move(*there));
    there->~F();
    closure_moved_out();
    fn();
  }
  static void destroy(void* place) { static_cast<F*>(place)->~F(); }
  static constexpr closure_type type{sizeof(F), alignof(F), &run, &destroy};
};

int run_main(const closure_type& type, void* closure);
// A declared blocking region: the callee-saved registers as they are in the frame that calls f, and what enters and leaves.
struct blocking_region {
  void* registers[16];
};
extern "C" void warren_save_registers(void* registers);
void enter_blocking(const blocking_region& region) noexcept;
void exit_blocking(const blocking_region& region) noexcept;
}  // namespace detail

// Starts a goroutine that calls f(). Returns at once; f runs when a P takes it. f is moved (or copied) in.
// Call from a goroutine. A safepoint: others may run first. Throws what moving f throws, and std::bad_alloc.
// An exception that leaves f ends the process, with the goroutine's id (as a panic ends a Go program).
template <class F>
[[gnu::always_inline]] inline void go(F&& f, stack_size stack = stack_size::normal) {  // inline: dumps and metrics name the caller
  using fn = std::decay_t<F>;
  static_assert(std::is_invocable_v<fn&>, "warren::go takes something callable without arguments: capture what it needs");
  detail::newborn* nb;
  void* place = detail::new_goroutine(detail::closure_of<fn>::type, stack, &nb);
  if constexpr (std::is_nothrow_constructible_v<fn, F&&>) {
    ::new (place) fn(std::forward<F>(f));
  } else {
    try {
      ::new (place) fn(std::forward<F>(f));
    } catch (...) {
      detail::cancel_goroutine(nb);
      throw;
    }
  }
  detail::start_goroutine(nb);
}

// What a goroutine may want that is not the default: go({.stack = stack_size::huge}, [] { … });
struct go_options {
  stack_size stack = stack_size::normal;
};
template <class F>
[[gnu::always_inline]] inline void go(go_options options, F&& f) {
  go(std::forward<F>(f), options.stack);
}

// The life cycle: starts the runtime on the calling thread (which becomes m0), runs f as goroutine 1, stops the runtime when f returns and
// returns f's value (0 if it returns void). Goroutines that still exist then are abandoned where they stand, as in Go: their
// destructors do not run. (One that occupies a thread, in a blocking call or a loop without a safepoint, is waited for up to a second, and
// then left behind with the thread.) May be called again after it returned, unless such a thread was left behind; never while it runs.
// f usually begins on the calling thread, and goes to another when it first parks or its slice ends. No other goroutine runs on the
// calling thread.
// The number of Ps is WARREN_MAXPROCS, else GOMAXPROCS, else the number of processors the process may use.
template <class F>
int run(F&& f) {
  struct holder {
    std::remove_reference_t<F>* f;
    int result;
    void operator()() {
      if constexpr (std::is_convertible_v<std::invoke_result_t<F&>, int>) {
        result = (*f)();
      } else {
        (*f)();
        result = 0;
      }
    }
  } h{std::addressof(f), 0};
  struct by_reference {
    holder* h;
    void operator()() { (*h)(); }
  } closure{&h};
  const int status = detail::run_main(detail::closure_of<by_reference>::type, &closure);
  return status != 0 ? status : h.result;
}

// Lets other goroutines run; the caller goes to the end of the line. May park, so the goroutine may be on another thread afterwards.
void yield();

// Parks the goroutine for at least d. d ≤ 0 returns at once.
void sleep(std::chrono::nanoseconds d);

// Runs f on this goroutine after giving its P to others: for calls that block the thread (files, getaddrinfo, a foreign library).
// Returns f's value. Inside f: no goroutine operations, no make, no store to a ptr; the collector may run meanwhile and sees the
// caller's frames and registers as they were at the call.
template <class F>
decltype(auto) blocking(F&& f) {
  struct leave {
    detail::blocking_region region;
    ~leave() { detail::exit_blocking(region); }
  } r;
  // Here, in the frame that stays while f runs, and not inside enter_blocking, whose prologue would already have put its own values into
  // them.
  detail::warren_save_registers(r.region.registers);
  detail::enter_blocking(r.region);
  return std::forward<F>(f)();
}

// Number of Ps: how many goroutines can run at the same instant.
int maxprocs() noexcept;

// Changes the number of Ps and returns what it was. n ≤ 0 only returns it. Stops the world for a moment; at most 1024. From then on the
// number does not follow the cgroup's quota any more. On a goroutine.
int set_maxprocs(int n);

// From here to unlock_os_thread the current goroutine runs on the thread it is on now, and nothing else runs there: for libraries that keep
// state in the thread. Calls nest. Every park and wake-up then costs two thread switches. A goroutine that ends while locked takes its
// thread with it, unless it is the one that called warren::run. On a goroutine.
void lock_os_thread();
// unlock_os_thread on a goroutine that is not locked is fatal.
void unlock_os_thread();

// The current goroutine's id: 1 for the main goroutine, never reused within one run. 0 when not on a goroutine.
uint64_t goroutine_id() noexcept;

// Number of goroutines that exist now, including those not started yet.
int64_t goroutine_count() noexcept;

}  // namespace warren

// Synchronisation of goroutines that share memory: mutex, wait_group, once. What waits here is a goroutine; its thread goes on with others.
//
// The objects neither move nor are copied. They may lie anywhere: globals, collected objects, stacks. Misuse is a fatal error that names
// it.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "warren/go.h"
#include "warren/thread_safety.h"

namespace warren {

struct noscan;  // <warren/ptr.h>: nothing in here points into the collected heap

namespace detail {
// A lock of the runtime and a list of waiting goroutines (runtime/sync/wait_queue.h), opaque here.
struct wait_queue_storage {
  alignas(void*) std::byte bytes[24] = {};
};
}  // namespace detail

// A mutual exclusion lock for goroutines. Satisfies Lockable: std::unique_lock and std::scoped_lock work with it; warren::lock_guard is
// what clang's analysis understands. May be held across anything that parks, and unlocked by another goroutine than the one that locked
// it. Not recursive. Fair enough: a waiter that was passed over for 1 ms is handed the lock next, before anybody who comes new.
class WARREN_CAPABILITY("mutex") mutex {
 public:
  using collected = noscan;

  constexpr mutex() = default;
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;

  // Parks until the lock is free. On a goroutine.
  void lock() WARREN_ACQUIRE();
  // Never parks; any thread. Fails also when the lock is about to be handed to a waiter.
  [[nodiscard]] bool try_lock() noexcept WARREN_TRY_ACQUIRE(true);
  // Never parks; any thread. Unlocking a mutex that is not locked is a fatal error.
  void unlock() noexcept WARREN_RELEASE() WARREN_NO_THREAD_SAFETY_ANALYSIS {
    uint32_t held = kLocked;
    if (!state_.compare_exchange_strong(held, 0, std::memory_order_release, std::memory_order_relaxed)) [[unlikely]]
      unlock_slow();
  }

 private:
  static constexpr uint32_t kLocked = 1;
  void lock_slow();
  void unlock_slow() noexcept;

  std::atomic<uint32_t> state_{0};  // see runtime/sync/mutex.cpp
  detail::wait_queue_storage waiters_;
};

// Locks m for a scope.
class WARREN_SCOPED_CAPABILITY lock_guard {
 public:
  explicit lock_guard(mutex& m) WARREN_ACQUIRE(m) : m_(m) { m_.lock(); }
  ~lock_guard() WARREN_RELEASE() { m_.unlock(); }
  lock_guard(const lock_guard&) = delete;
  lock_guard& operator=(const lock_guard&) = delete;

 private:
  mutex& m_;
};

// Waits for a number of goroutines to finish.
//
//   wait_group wg;
//   for (…) wg.go([&] { … });
//   wg.wait();
//
// The counter must not fall below zero; it may rise from zero only while nobody waits (so that one wait_group is used again only after
// all waits have returned): anything else is a fatal error. What happens before done() is visible after wait(). When wait() has returned
// the object may be destroyed.
class wait_group {
 public:
  using collected = noscan;

  constexpr wait_group() = default;
  wait_group(const wait_group&) = delete;
  wait_group& operator=(const wait_group&) = delete;

  // Adds n, which may be negative, to the counter; wakes all waiters when it becomes zero. Never parks; any thread.
  void add(int n);
  void done() { add(-1); }
  // Parks until the counter is zero. On a goroutine.
  void wait();

  // Starts a goroutine that calls f() and is waited for.
  template <class F>
  void go(F&& f) {
    add(1);
    struct counted {
      wait_group* wg;
      std::decay_t<F> f;
      void operator()() {
        {
          // What f has captured is gone before the waiter goes on: it may be the waiter's.
          std::decay_t<F> mine(std::move(f));
          mine();
        }
        wg->done();
      }
    };
    try {
      warren::go(counted{this, std::forward<F>(f)});
    } catch (...) {
      done();
      throw;
    }
  }

 private:
  std::atomic<uint64_t> state_{0};  // counter in the upper half, waiters in the lower
  detail::wait_queue_storage waiters_;
};

// Calls a function once, whoever comes first; everybody returns after it has returned. If it throws, the caller gets the exception and
// the next one tries again.
class once {
 public:
  using collected = noscan;

  constexpr once() = default;
  once(const once&) = delete;
  once& operator=(const once&) = delete;

  template <class F>
  void call(F&& f) {
    if (done_.load(std::memory_order_acquire)) return;
    lock_guard hold(m_);
    if (done_.load(std::memory_order_relaxed)) return;
    std::forward<F>(f)();
    done_.store(true, std::memory_order_release);  // pairs with the acquire load above
  }

 private:
  std::atomic<bool> done_{false};
  mutex m_;
};

}  // namespace warren

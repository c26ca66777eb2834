// rwmutex: many readers or one writer.
#pragma once
#include <atomic>
#include <cstdint>

#include "warren/sync.h"
#include "warren/thread_safety.h"

namespace warren {

// A reader/writer lock for goroutines, with the promises of Go's sync.RWMutex. A writer that waits keeps new readers out, so it gets its
// turn when those inside have left; and when a writer leaves, all readers that waited come in before the next writer. So neither starves.
// It follows that a goroutine must not take the shared lock again while it holds it: a writer may have come in between.
//
// Satisfies SharedLockable: std::shared_lock and std::unique_lock work with it; warren::shared_lock_guard and warren::rw_lock_guard are
// what clang's analysis understands. May be held across anything that parks, and released by another goroutine than the one that took it.
// Neither moves nor is copied; may lie anywhere. When a release was the last use of an object, the object that contains the lock may be
// destroyed. Use it where readers hold the lock for long: for a few loads a mutex is as fast.
class WARREN_CAPABILITY("rwmutex") rwmutex {
 public:
  using collected = noscan;

  constexpr rwmutex() = default;
  rwmutex(const rwmutex&) = delete;
  rwmutex& operator=(const rwmutex&) = delete;

  // Parks until nobody is inside. On a goroutine.
  void lock() WARREN_ACQUIRE();
  // Never parks; any thread.
  [[nodiscard]] bool try_lock() noexcept WARREN_TRY_ACQUIRE(true);
  // Never parks; any thread. A fatal error if no writer is inside.
  void unlock() noexcept WARREN_RELEASE();

  // Parks while a writer is inside or waits. On a goroutine.
  void lock_shared() WARREN_ACQUIRE_SHARED();
  // Never parks; any thread. Fails also when a writer waits.
  [[nodiscard]] bool try_lock_shared() noexcept WARREN_TRY_ACQUIRE_SHARED(true);
  // Never parks; any thread. A fatal error if no reader is inside.
  void unlock_shared() noexcept WARREN_RELEASE_SHARED();

 private:
  void lock_slow();
  void lock_shared_slow();
  void unlock_slow() noexcept;
  void unlock_shared_slow(uint32_t state) noexcept;

  std::atomic<uint32_t> state_{0};  // see runtime/sync/rwmutex.cpp
  detail::wait_queue_storage writers_;
  detail::wait_queue_storage readers_;
};

// Takes m for a scope, alone.
class WARREN_SCOPED_CAPABILITY rw_lock_guard {
 public:
  explicit rw_lock_guard(rwmutex& m) WARREN_ACQUIRE(m) : m_(m) { m_.lock(); }
  ~rw_lock_guard() WARREN_RELEASE() { m_.unlock(); }
  rw_lock_guard(const rw_lock_guard&) = delete;
  rw_lock_guard& operator=(const rw_lock_guard&) = delete;

 private:
  rwmutex& m_;
};

// Takes m for a scope, with other readers.
class WARREN_SCOPED_CAPABILITY shared_lock_guard {
 public:
  explicit shared_lock_guard(rwmutex& m) WARREN_ACQUIRE_SHARED(m) : m_(m) { m_.lock_shared(); }
  ~shared_lock_guard() WARREN_RELEASE_GENERIC() { m_.unlock_shared(); }
  shared_lock_guard(const shared_lock_guard&) = delete;
  shared_lock_guard& operator=(const shared_lock_guard&) = delete;

 private:
  rwmutex& m_;
};

}  // namespace warren

// semaphore: weighted, first come first served.
#pragma once
#include <cstdint>
#include <system_error>

#include "warren/context.h"
#include "warren/sync.h"

namespace warren {

// A number of units, of which goroutines take some and give them back: to bound how much of something is done or held at once. After
// golang.org/x/sync/semaphore. Who waits is served in the order of arrival: a large request is not overtaken by small ones for ever, and
// while it waits they wait behind it.
//
// Neither moves nor is copied; may lie anywhere.
class semaphore {
 public:
  using collected = noscan;

  // REQUIRES: units ≥ 0; at most that many can be out at a time.
  constexpr explicit semaphore(int64_t units) noexcept : size_(units) {}
  semaphore(const semaphore&) = delete;
  semaphore& operator=(const semaphore&) = delete;

  // Parks until n units are there and takes them. On a goroutine. n beyond the semaphore's size is a fatal error: it can never be.
  void acquire(int64_t n = 1);
  // The same, but not beyond the end of ctx: then returns its err(), and nothing was taken. If ctx has ended already, takes nothing, even
  // if there is enough. n beyond the size waits for the end of ctx. Throws std::bad_alloc.
  [[nodiscard]] std::error_code acquire(const context& ctx, int64_t n = 1);
  // Takes n units if they are there and nobody waits for some. Never parks; any thread.
  [[nodiscard]] bool try_acquire(int64_t n = 1) noexcept;
  // Gives n units back. Never parks; any thread. More than are out is a fatal error.
  void release(int64_t n = 1) noexcept;

 private:
  const int64_t size_;
  int64_t out_ = 0;  // guarded by the queue's lock
  detail::wait_queue_storage waiters_;
};

// Gives units back at the end of a scope.
class [[nodiscard]] semaphore_guard {
 public:
  // REQUIRES: n units of s are the caller's.
  explicit semaphore_guard(semaphore& s, int64_t n = 1) noexcept : s_(s), n_(n) {}
  ~semaphore_guard() { s_.release(n_); }
  semaphore_guard(const semaphore_guard&) = delete;
  semaphore_guard& operator=(const semaphore_guard&) = delete;

 private:
  semaphore& s_;
  const int64_t n_;
};

}  // namespace warren

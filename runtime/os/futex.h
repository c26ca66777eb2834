// Futexes: how an OS thread of the runtime sleeps.
#pragma once
#include <atomic>
#include <cstdint>

namespace warren::rt {

// Sleeps while *word == expected. timeout_ns < 0: no time limit. May return early for any reason: callers loop.
void futex_wait(std::atomic<uint32_t>* word, uint32_t expected, int64_t timeout_ns = -1) noexcept;

// Wakes at most count threads sleeping on word. Never dereferences word after the system call was entered.
void futex_wake(std::atomic<uint32_t>* word, int count) noexcept;

// A one-shot event between two threads: one sleeps, one wakes. clear() before the next use.
// States: 0 clear, 1 set. sleep() has one caller at a time.
class note {
 public:
  void clear() noexcept { word_.store(0, std::memory_order_relaxed); }
  void wakeup() noexcept {
    word_.store(1, std::memory_order_release);  // pairs with the acquire load in sleep(): what preceded wakeup is visible after it
    futex_wake(&word_, 1);
  }
  // Returns true when woken, false when timeout_ns (≥ 0) passed first.
  bool sleep(int64_t timeout_ns = -1) noexcept;

 private:
  std::atomic<uint32_t> word_{0};
};

}  // namespace warren::rt

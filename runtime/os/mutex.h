// The runtime's own lock: for short critical sections of the runtime itself, held by OS threads and never across a park.
#pragma once
#include <atomic>
#include <cstdint>

namespace warren::rt {

// A futex lock with a short spin. Satisfies Lockable (std::lock_guard, std::unique_lock).
// States of the word: 0 free, 1 held, 2 held and somebody may sleep. (U. Drepper, "Futexes Are Tricky", third mutex.)
class mutex {
 public:
  constexpr mutex() = default;
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;

  void lock() noexcept {
    uint32_t free = 0;
    if (!word_.compare_exchange_strong(free, 1, std::memory_order_acquire, std::memory_order_relaxed)) lock_slow();
  }
  bool try_lock() noexcept {
    uint32_t free = 0;
    return word_.compare_exchange_strong(free, 1, std::memory_order_acquire, std::memory_order_relaxed);
  }
  void unlock() noexcept {
    if (word_.exchange(0, std::memory_order_release) == 2) unlock_slow();
  }
  bool is_locked() const noexcept { return word_.load(std::memory_order_acquire) != 0; }

 private:
  void lock_slow() noexcept;
  void unlock_slow() noexcept;
  std::atomic<uint32_t> word_{0};
};

}  // namespace warren::rt

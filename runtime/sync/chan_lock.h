// The lock of a channel: a futex lock whose unlock is a plain store.
//
// A channel operation is little more than its lock. With rt::mutex, 8 of the 12 locked instructions of an unbuffered round trip were spent
// on locking and unlocking, and half of those by unlock, to find out whether somebody sleeps. Here the one who is about to sleep pays for
// it instead: 160 ns of CPU time per round trip on one P in place of 190 (Go 1.19 beside it: 353), a buffered send or receive 12 in place
// of 19.
//
//   unlocker (every operation)             sleeper (after spinning in vain)
//   1  word = 0                            a  ++sleepers
//   2  compiler barrier                    b  membarrier(PRIVATE_EXPEDITED)
//   3  if (sleepers != 0) wake one         c  while word can not be taken: sleep while word == 1
//
// The danger is that 3 reads 0 although the sleeper goes to sleep on a word that is 1 only because store 1 is still in the unlocker's
// store buffer. membarrier puts a full fence into every running thread of the process between (a) and (c). If load 3 came before the
// fence, so did store 1, and (c) sees it. If it came after, it sees (a) and wakes; the kernel compares the word under its own lock, so
// that a wake between (c)'s look and its sleep is not lost. (The same argument, for the same reason, as in sched/in_rt.h.)
//
// A woken sleeper that finds the word taken again sleeps on; whoever took it sees sleepers != 0 when he unlocks. Where membarrier is
// refused, 1 is an exchange and all of this is seq_cst.
//
// Unlike rt::mutex this touches the lock after giving it up (3). So it is for objects that outlive their unlocker's call: a channel does,
// because a collection waits for the P of everyone who is in the middle of an operation, and foreign threads hold a root.
#pragma once
#include <atomic>
#include <cstdint>

#include "runtime/os/futex.h"
#include "runtime/os/membarrier.h"

namespace warren::detail {

class chan_lock {
 public:
  void lock() noexcept {
    if (!try_lock()) lock_slow();
  }
  bool try_lock() noexcept {
    uint32_t free = 0;
    return word_.compare_exchange_strong(free, 1, std::memory_order_acquire, std::memory_order_relaxed);
  }
  bool is_locked() const noexcept { return word_.load(std::memory_order_acquire) != 0; }
  void unlock() noexcept {
    if (rt::has_membarrier) [[likely]] {
      word_.store(0, std::memory_order_release);
      std::atomic_signal_fence(std::memory_order_seq_cst);  // 2; pairs with membarrier in lock_slow
      if (sleepers_.load(std::memory_order_relaxed) == 0) [[likely]]
        return;
    } else {
      word_.exchange(0, std::memory_order_seq_cst);
      if (sleepers_.load(std::memory_order_seq_cst) == 0) return;
    }
    rt::futex_wake(&word_, 1);
  }

 private:
  void lock_slow() noexcept;

  std::atomic<uint32_t> word_{0};      // 0 free, 1 held
  std::atomic<uint32_t> sleepers_{0};  // threads that sleep, or are about to
};

}  // namespace warren::detail

// biased: makes a lock cheap for the P that takes it most.
//
// A compare-and-swap costs 5 to 11 ns, also on a line that no other processor has ever touched, and that was a third to nine tenths of a
// channel operation. But most channels, and most timers, are used by goroutines of one P for long stretches (rule (5) of proc.cpp sees to
// that), and what runs on one P runs one after the other. So a lock that was taken many times in a row on one P becomes biased to it: there
// it is taken by a store and given back by a store. Whoever comes without that P ends the bias first, which is slow, and takes the
// underlying lock; and so does the former owner until it has had the lock to itself for longer than the last time.
//
//   P's owner (in a bracket of in_rt.h)         anybody else (holds the underlying lock, which all of this class takes when not biased)
//   1  if (fast || lock.is_locked()) slow       a  bias = none
//   2  fast = 1                                 b  membarrier(PRIVATE_EXPEDITED)
//   3  compiler barrier                         c  while (fast) wait
//   4  if (bias != me) fast = 0, slow           d  the lock is mine
//      the lock is mine
//   5  unlock: fast = 0 (release)
//
// Exclusion. membarrier puts a full fence into every running thread of the process between (a) and (c) (a thread that does not run passed
// one when it was descheduled). If the owner's load 4 came before that fence, so did its store 2, and (c) sees 1 until 5. If it came after,
// it reads `none` and goes away. Then its `fast = 1` may still be seen for a moment by the one who holds the lock: so it is a variable of
// its own, by_bias, written by each holder, that says to unlock how the lock was taken.
// Two of the same P. Steps 1 to 4 lie in a bracket, so the P does not change hands between them, and all who act as its owner do so one
// after the other: 1 is not a race. It is needed because the lock is also held outside brackets (the channels' move constructors, the park
// that unlocks on the scheduler's stack): a P that was revoked from a thread in that state brings its next owner to 1 with fast set, and
// the same goes for a thread that holds the underlying lock and has just made its P the owner: fast is not set then, and is_locked() tells.
// That next owner takes the slow way, whose (b) and (c) hold for it as for others.
// Order. fast is stored with release in 5 and read with acquire in 1 and (c). `none` to biased happens under the underlying lock, by the P
// that becomes the owner: what others did under the lock before is visible to that P's owner, and to the next ones by the P's hand-over.
//
// When to be biased. Ending a bias costs 1 to 5 µs (a system call, an interrupt for each running thread), so it must have saved more than
// that before: a lock becomes biased after `patience` acquisitions in a row by one P, 32 at first, and four times as many after each end
// up to 2^15. A lock that wanders all the time is thus paid for once in 32, 128, … 32768 operations: below 1 ns of each.
// Rejected: bias from birth, to the P of the maker (a channel that is made to be used once, elsewhere, would always pay); a bias that is
// never lost, with membarrier by every other P (timers of connections are stopped by whoever closes them).
//
// Where membarrier is refused no lock is ever biased.
#pragma once
#include <atomic>
#include <cstdint>

#include "runtime/os/membarrier.h"
#include "runtime/os/tiny.h"
#include "runtime/sched/m.h"

namespace warren::rt {

// What is the same for all locks. Not to be used by itself.
class bias {
 public:
  // Calls try_fast(pp) in a bracket with the P that the caller has there; false if it has none, or try_fast says so.
  template <class F>
  static bool with_p(F&& try_fast) noexcept {
    m* const mp = getm();
    if (mp == nullptr) return false;
    const uint32_t outer = mp->in_rt.load(std::memory_order_relaxed);  // 1 on the scheduler's stack
    mp->in_rt.store(1, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);  // pairs with the revoker's membarrier, as in rt_enter
    const bool done = mp->revoked.load(std::memory_order_relaxed) == 0 &&
#ifdef WARREN_TINY
                      (outer != 0 || tiny_choice(mp->next_random()) != tiny_action::preempt) &&
#endif
                      try_fast(mp->current_p);
    mp->in_rt.store(outer, std::memory_order_release);
    return done;
  }
  // Steps 1 to 4.
  bool take_fast(const p* me, bool locked) noexcept {
    if (locked || fast_.load(std::memory_order_acquire) != 0) return false;
    fast_.store(1, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);  // 3
    if (owner_.load(std::memory_order_relaxed) != me) [[unlikely]] {
      fast_.store(0, std::memory_order_release);
      return false;
    }
    by_bias_.store(true, std::memory_order_relaxed);
    return true;
  }
  bool is_of(const p* me) const noexcept { return me != nullptr && owner_.load(std::memory_order_relaxed) == me; }
  bool held() const noexcept { return by_bias_.load(std::memory_order_relaxed); }
  void give_fast() noexcept { fast_.store(0, std::memory_order_release); }  // 5
  // Under the underlying lock: ends another's bias, or considers one.
  void settle() noexcept {
    const p* const owner = owner_.load(std::memory_order_relaxed);
    if (owner != nullptr) [[unlikely]] {
      end();
    } else if (has_membarrier) [[likely]] {
      consider();
    }
    by_bias_.store(false, std::memory_order_relaxed);  // not before (c) is over: until then the word is the owner's
  }

 private:
  void end() noexcept;
  void consider() noexcept;

  std::atomic<const p*> owner_{nullptr};  // written under the underlying lock
  std::atomic<uint32_t> fast_{0};         // the owner holds the lock, or looks whether it may
  std::atomic<bool> by_bias_{false};      // how the holder took it; the holder's (atomic: TSan does not know membarrier)
  // Guarded by the underlying lock.
  uint16_t streak_ = 0;
  uint16_t patience_ = WARREN_CAPACITY(32, 2);
  const p* last_ = nullptr;
};

// Lock: lock(), unlock(), is_locked() (acquire). BasicLockable itself; on any thread. A goroutine must not park with it, unless the commit
// unlocks. After unlock() nothing of it is touched, unless Lock does.
template <class Lock>
class biased {
 public:
  biased() = default;
  biased(const biased&) = delete;
  biased& operator=(const biased&) = delete;

  void lock() noexcept {
    if (!lock_fast()) lock_slow();
  }
  // For short sections that would rather be done otherwise than wait: takes it if it is biased to the caller's P, and free.
  bool try_lock_by_bias() noexcept { return lock_fast(); }
  void unlock_by_bias() noexcept { bias_.give_fast(); }  // REQUIRES: so taken
  void unlock() noexcept {
    if (bias_.held()) {
      bias_.give_fast();
    } else {
      slow_.unlock();
    }
  }

 private:
  bool lock_fast() noexcept {
    return bias::with_p([this](const p* me) { return bias_.is_of(me) && bias_.take_fast(me, slow_.is_locked()); });
  }
  [[gnu::noinline]] void lock_slow() noexcept {
    slow_.lock();
    bias_.settle();
  }

  bias bias_;
  Lock slow_;
};

}  // namespace warren::rt

// The local run queue of a P: a ring of at most 256 and one place for what should run next.
//
// One producer (the P's owner) and many consumers (the owner and thieves). head and tail are free-running 32-bit counters; tail - head is
// the length.
//   - Only the owner stores tail, with release: a thief that reads tail with acquire sees the entries below it.
//   - Everybody advances head by compare-and-swap with release, having read the entries before it: an entry may be read by a thief whose
//     CAS then fails, so entries are atomics, and the owner may overwrite an entry only after it has read head with acquire
//     (tail - head < capacity). The owner of the only P needs no CAS (set_unshared).
//   - runnext is one word. Only the owner makes it non-null, so it may store into a null one; to displace what is there it exchanges.
//     Thieves compare-and-swap it. The owner, who takes it at every hand-over between goroutines, does so by a load and a store while no
//     thief is after it:
//
//       owner (get)                              thief (grab, with an empty ring)
//       1  taking = 1                            a  ++thieves
//       2  compiler barrier                      b  membarrier(PRIVATE_EXPEDITED)
//       3  if (thieves) exchange                 c  if (taking == 0) compare-and-swap
//          else 4 load next, 5 store null        d  --thieves (release)
//       6  taking = 0 (release)
//
//     membarrier puts a full fence into the owner's thread between (a) and (c). If load 3 came before it and saw 0, store 1 came before it,
//     too: (c) sees 1 and leaves it at that, or it sees the 0 of 6, and with it store 5. If load 3 came after, it sees (a), and each takes
//     by a locked instruction, unless (d) is over: then 3, which acquires, has seen what the thief did. The owner never waits; a thief that
//     finds it at 1 to 6 makes way for its thread and looks elsewhere. The call costs a thief 1 µs after it has watched for 15 that runnext
//     lay there untouched (steal_work in proc.cpp), the owner saves 5 to 10 ns at every park with a successor. Where membarrier is refused
//     `thieves` begins at 1.
//   - Nothing here is a StoreLoad barrier: who submits work and then looks for idle Ps fences in between (proc.cpp).
// The protocol is that of Go's runqput/runqget/runqgrab (runtime/proc.go). Rejected: a Chase–Lev deque. It gives the owner LIFO order,
// which starves the oldest goroutine under load; runnext gives LIFO's locality for the one case that matters (a goroutine readied by the
// one about to park).
#pragma once
#include <atomic>
#include <cstdint>

#include "runtime/os/cpu.h"
#include "runtime/os/membarrier.h"
#include "runtime/os/tiny.h"

namespace warren::rt {

struct runnable;

// Shrinks in builds that want spills and steals all the time (tests).
#ifndef WARREN_RUN_QUEUE_CAPACITY
#define WARREN_RUN_QUEUE_CAPACITY WARREN_CAPACITY(256, 4)
#endif

class run_queue {
 public:
  static constexpr uint32_t kCapacity = WARREN_RUN_QUEUE_CAPACITY;
  static_assert((kCapacity & (kCapacity - 1)) == 0 && kCapacity >= 4);

  // What a full ring gives up: half of it and the newcomer, linked through runnable::next.
  struct spill {
    runnable* head = nullptr;
    runnable* tail = nullptr;
    uint32_t count = 0;
  };

  // There is but one P, so nobody steals: get needs no atomic read-modify-write. While nobody uses the queue.
  void set_unshared(bool unshared) noexcept { unshared_ = unshared; }

  // Owner only. next: take the place of runnext, whose occupant moves to the ring's tail. If the ring is full, half of it and the entry
  // that did not fit come back in *out for the global queue. Returns true if nothing spilled.
  bool put(runnable* r, bool next, spill* out) noexcept {
    if (next) {
      if (next_.load(std::memory_order_relaxed) != nullptr) return put_displacing(r, out);
      // Release: a thief that takes it from here must see the goroutine as its readier left it.
      next_.store(r, std::memory_order_release);
      return true;
    }
    const uint32_t head = head_.load(std::memory_order_acquire);  // pairs with the consumers' CAS: their reads of the slot are over
    const uint32_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head >= kCapacity) [[unlikely]]
      return put_full(r, out);
    ring_[tail % kCapacity].store(r, std::memory_order_relaxed);
    tail_.store(tail + 1, std::memory_order_release);  // pairs with the acquire in grab and get: publishes the entry
    return true;
  }

  // Owner only. *inherit: the entry came from runnext and continues the current time slice.
  // At most kRunnextStreak entries in a row come from runnext while the ring has some: two goroutines that ready each other must not keep
  // the rest waiting.
  runnable* get(bool* inherit) noexcept {
    if (has_next() && (streak_ < kRunnextStreak || ring_empty())) {
      if (runnable* next = take_next()) {  // not a thief's meanwhile
        ++streak_;
        *inherit = true;
        return next;
      }
    }
    streak_ = 0;
    *inherit = false;
    for (;;) {
      uint32_t head = head_.load(std::memory_order_acquire);
      if (head == tail_.load(std::memory_order_relaxed)) return get_left_behind(inherit);
      runnable* r = ring_[head % kCapacity].load(std::memory_order_relaxed);
      if (unshared_) {
        head_.store(head + 1, std::memory_order_relaxed);
        return r;
      }
      if (head_.compare_exchange_strong(head, head + 1, std::memory_order_acq_rel, std::memory_order_relaxed)) return r;
    }
  }

  // Thief, on behalf of the queue `to` which it owns: moves half of this ring there and returns one of them, or nullptr.
  // take_next: with an empty ring also take runnext (the caller waits a little before: whoever was put there is probably about to run).
  // *moved: how many changed hands, the returned one included.
  runnable* steal_into(run_queue& to, bool take_next, uint32_t* moved) noexcept;

  bool empty() const noexcept;
  uint32_t size() const noexcept;
  bool has_next() const noexcept { return next_.load(std::memory_order_relaxed) != nullptr; }
  bool ring_empty() const noexcept { return head_.load(std::memory_order_relaxed) == tail_.load(std::memory_order_relaxed); }

 private:
  static constexpr uint32_t kRunnextStreak =
      3;  // tokio's figure (MAX_LIFO_POLLS_PER_TICK); unlimited there was a 20-fold latency bug (tokio #4941)

  // Owner: empties runnext.
  runnable* take_next() noexcept {
    taking_.store(1, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);  // 2; pairs with membarrier in take_others_next
    runnable* next;
    if (thieves_.load(std::memory_order_acquire) == 0) [[likely]] {
      next = next_.load(std::memory_order_relaxed);
      // Release: whoever sees in empty() that it is null must also see the tail below which its predecessor went.
      next_.store(nullptr, std::memory_order_release);
    } else {
      next = next_.exchange(nullptr, std::memory_order_acq_rel);
    }
    taking_.store(0, std::memory_order_release);
    return next;
  }
  runnable* take_others_next() noexcept;
  bool put_displacing(runnable* r, spill* out) noexcept;
  bool put_full(runnable* r, spill* out) noexcept;
  bool spill_half(runnable* r, uint32_t head, uint32_t tail, spill* out) noexcept;
  runnable* get_left_behind(bool* inherit) noexcept;
  uint32_t grab(std::atomic<runnable*>* batch, uint32_t batch_head, bool take_next) noexcept;

  alignas(kCacheLine) std::atomic<uint32_t> head_{0};
  alignas(kCacheLine) std::atomic<uint32_t> tail_{0};
  std::atomic<runnable*> next_{nullptr};
  std::atomic<uint32_t> taking_{0};                          // the owner is about to empty next_
  std::atomic<uint32_t> thieves_{has_membarrier ? 0u : 1u};  // who would like to
  uint32_t streak_ = 0;                                      // owner only
  bool unshared_ = false;
  std::atomic<runnable*> ring_[kCapacity] = {};
};

}  // namespace warren::rt

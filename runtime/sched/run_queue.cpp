#include "runtime/sched/run_queue.h"

#include <sched.h>

#include "runtime/sched/g.h"

namespace warren::rt {

bool run_queue::put_displacing(runnable* r, spill* out) noexcept {
  runnable* const old = next_.exchange(r, std::memory_order_acq_rel);
  return old == nullptr || put(old, false, out);
}

bool run_queue::put_full(runnable* r, spill* out) noexcept {
  const uint32_t head = head_.load(std::memory_order_acquire);
  const uint32_t tail = tail_.load(std::memory_order_relaxed);
  if (spill_half(r, head, tail, out)) return false;
  return put(r, false, out);  // a thief made room meanwhile
}

bool run_queue::spill_half(runnable* r, uint32_t head, uint32_t tail, spill* out) noexcept {
  constexpr uint32_t n = kCapacity / 2;
  runnable* batch[n + 1];
  for (uint32_t i = 0; i < n; ++i) batch[i] = ring_[(head + i) % kCapacity].load(std::memory_order_relaxed);
  uint32_t expected = head;
  if (tail - head != kCapacity || !head_.compare_exchange_strong(expected, head + n, std::memory_order_acq_rel, std::memory_order_relaxed))
    return false;
  batch[n] = r;
  for (uint32_t i = 0; i < n; ++i) batch[i]->next = batch[i + 1];
  batch[n]->next = nullptr;
  *out = {batch[0], batch[n], n + 1};
  return true;
}

// The ring is empty: it was, or it was drained by thieves after the streak test preferred it. What is in runnext must not be left behind.
runnable* run_queue::get_left_behind(bool* inherit) noexcept {
  runnable* next = has_next() ? take_next() : nullptr;
  *inherit = next != nullptr;
  return next;
}

// Thief.
runnable* run_queue::take_others_next() noexcept {
  if (!has_next()) return nullptr;
  thieves_.fetch_add(1, std::memory_order_seq_cst);
  if (has_membarrier) membarrier();
  const bool taken = taking_.load(std::memory_order_acquire) != 0;
  runnable* next = taken ? nullptr : next_.load(std::memory_order_relaxed);
  if (next != nullptr && !next_.compare_exchange_strong(next, nullptr, std::memory_order_acquire, std::memory_order_relaxed))
    next = nullptr;
  thieves_.fetch_sub(1, std::memory_order_release);
  if (taken) sched_yield();  // if the kernel has descheduled the owner just here, it may need this processor to go on
  return next;
}

uint32_t run_queue::grab(std::atomic<runnable*>* batch, uint32_t batch_head, bool take_next) noexcept {
  for (;;) {
    uint32_t head = head_.load(std::memory_order_acquire);
    const uint32_t tail = tail_.load(std::memory_order_acquire);  // pairs with the release in put
    uint32_t n = tail - head;
    n -= n / 2;
    if (n == 0) {
      runnable* const next = take_next ? take_others_next() : nullptr;
      if (next == nullptr) return 0;
      batch[batch_head % kCapacity].store(next, std::memory_order_relaxed);
      return 1;
    }
    if (n > kCapacity / 2) continue;  // head and tail were read at different times
    for (uint32_t i = 0; i < n; ++i) {
      batch[(batch_head + i) % kCapacity].store(ring_[(head + i) % kCapacity].load(std::memory_order_relaxed), std::memory_order_relaxed);
    }
    if (head_.compare_exchange_strong(head, head + n, std::memory_order_acq_rel, std::memory_order_relaxed)) return n;
  }
}

runnable* run_queue::steal_into(run_queue& to, bool take_next, uint32_t* moved) noexcept {
  const uint32_t tail = to.tail_.load(std::memory_order_relaxed);
  uint32_t n = grab(to.ring_, tail, take_next);
  *moved = n;
  if (n == 0) return nullptr;
  --n;
  runnable* r = to.ring_[(tail + n) % kCapacity].load(std::memory_order_relaxed);
  // The thief's ring was empty (it steals only then), so n < kCapacity / 2 entries fit.
  if (n > 0) to.tail_.store(tail + n, std::memory_order_release);
  return r;
}

bool run_queue::empty() const noexcept {
  // head, tail and next must be seen at one instant, for put(next=true) moves an entry from next to the ring: re-read tail to know that
  // none moved.
  for (;;) {
    const uint32_t head = head_.load(std::memory_order_acquire);
    const uint32_t tail = tail_.load(std::memory_order_acquire);
    const runnable* next = next_.load(std::memory_order_acquire);
    if (tail == tail_.load(std::memory_order_acquire)) return head == tail && next == nullptr;
  }
}

uint32_t run_queue::size() const noexcept {
  const uint32_t head = head_.load(std::memory_order_acquire);
  const uint32_t tail = tail_.load(std::memory_order_acquire);
  return tail - head + (has_next() ? 1 : 0);
}

}  // namespace warren::rt

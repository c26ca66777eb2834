#include "netpoll/fd_mutex.h"

#include <mutex>

#include "runtime/os/fatal.h"

namespace warren::rt {

bool fd_mutex::incref() noexcept {
  uint64_t s = state_.load(std::memory_order_relaxed);
  do {
    if ((s & kClosed) != 0) return false;
  } while (!state_.compare_exchange_weak(s, s + kReference, std::memory_order_acquire, std::memory_order_relaxed));
  return true;
}

bool fd_mutex::decref() noexcept {
  const uint64_t old = state_.fetch_sub(kReference, std::memory_order_acq_rel);
  if (old < kReference) fatal("descriptor released more often than acquired (state %#lx)", static_cast<unsigned long>(old));
  return is_last(old - kReference);
}

bool fd_mutex::try_lock(bool read) noexcept {
  const uint64_t bit = read ? kReadLock : kWriteLock;
  uint64_t s = state_.load(std::memory_order_relaxed);
  do {
    if ((s & (kClosed | bit)) != 0) return false;
  } while (!state_.compare_exchange_weak(s, (s | bit) + kReference, std::memory_order_acquire, std::memory_order_relaxed));
  return true;
}

bool fd_mutex::lock(bool read) {
  if (try_lock(read)) return true;
  return lock_slow(read);
}

bool fd_mutex::lock_slow(bool read) {
  const uint64_t lock_bit = read ? kReadLock : kWriteLock;
  const uint64_t queue_bit = read ? kReadQueue : kWriteQueue;
  waiter me{getg()};
  queue_lock_.lock();
  uint64_t s = state_.load(std::memory_order_relaxed);
  for (;;) {
    if ((s & kClosed) != 0) {
      queue_lock_.unlock();
      return false;
    }
    // Free after all, or nobody announced yet that there is a queue. Once the bit is there no unlock passes without queue_lock_.
    const uint64_t next = (s & lock_bit) == 0 ? (s | lock_bit) + kReference : s | queue_bit;
    if (!state_.compare_exchange_weak(s, next, std::memory_order_acq_rel, std::memory_order_relaxed)) continue;
    if ((s & lock_bit) == 0) {
      queue_lock_.unlock();
      return true;
    }
    break;
  }
  queue& q = read ? readers_ : writers_;
  (q.tail == nullptr ? q.head : q.tail->next) = &me;
  q.tail = &me;
  gopark(&park_unlock, &queue_lock_, wait_reason::sync_semaphore);
  return me.granted;
}

bool fd_mutex::unlock(bool read) noexcept {
  const uint64_t lock_bit = read ? kReadLock : kWriteLock;
  const uint64_t queue_bit = read ? kReadQueue : kWriteQueue;
  uint64_t s = state_.load(std::memory_order_relaxed);
  for (;;) {
    if ((s & lock_bit) == 0 || s < kReference) fatal("descriptor unlocked that was not locked (state %#lx)", static_cast<unsigned long>(s));
    if ((s & queue_bit) != 0) break;
    const uint64_t next = (s & ~lock_bit) - kReference;
    if (state_.compare_exchange_weak(s, next, std::memory_order_acq_rel, std::memory_order_relaxed)) return is_last(next);
  }
  g* next_owner;
  {
    std::lock_guard held(queue_lock_);
    queue& q = read ? readers_ : writers_;
    waiter* w = q.head;
    if (w == nullptr) {  // close() emptied the queue meanwhile, and cleared the bit
      uint64_t now = state_.load(std::memory_order_relaxed);
      uint64_t next;
      do {
        next = (now & ~lock_bit) - kReference;
      } while (!state_.compare_exchange_weak(now, next, std::memory_order_acq_rel, std::memory_order_relaxed));
      return is_last(next);
    }
    q.head = w->next;
    if (q.head == nullptr) {
      q.tail = nullptr;
      state_.fetch_and(~queue_bit, std::memory_order_acq_rel);
    }
    w->granted = true;  // the lock and our reference are the waiter's now
    next_owner = w->gp;
  }
  goready(next_owner);
  return false;
}

bool fd_mutex::close() noexcept {
  queue waiting[2];
  {
    std::lock_guard held(queue_lock_);
    uint64_t s = state_.load(std::memory_order_relaxed);
    do {
      if ((s & kClosed) != 0) return false;
    } while (!state_.compare_exchange_weak(s, ((s | kClosed) & ~(kReadQueue | kWriteQueue)) + kReference, std::memory_order_acq_rel,
                                           std::memory_order_relaxed));
    waiting[0] = readers_;
    waiting[1] = writers_;
    readers_ = writers_ = queue{};
  }
  for (const queue& q : waiting) {
    for (waiter* w = q.head; w != nullptr;) {
      waiter* after = w->next;  // w is gone once its goroutine runs
      goready(w->gp);
      w = after;
    }
  }
  return true;
}

}  // namespace warren::rt

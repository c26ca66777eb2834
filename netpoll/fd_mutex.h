// fd_mutex: who may use a descriptor, and who closes it. (After Go's fdMutex.)
//
// A descriptor's number is reused as soon as it is closed: a goroutine that is about to read must not find somebody else's file under it.
// So every operation holds a reference, and the descriptor is closed by whoever gives back the last one after close() was called. Reading
// and writing also take a lock each, so that concurrent readers do not mix and only one goroutine per direction waits in the poller.
//
// State word (one compare-and-swap per operation without contention):
//   bit 0 closed · 1 read locked · 2 write locked · 3 readers queue · 4 writers queue · 8… references
// Unlike Go's, the lock is handed to the first in line instead of being released for everyone to grab: waiters are served in order, and the
// waiter's reference takes the place of the unlocker's. The queue bits and the lists change only under queue_lock_; so an unlock that sees
// a bit finds a waiter.
#pragma once
#include <atomic>
#include <cstdint>

#include "runtime/os/mutex.h"
#include "runtime/sched/park.h"

namespace warren::rt {

class fd_mutex {
 public:
  // A reference for an operation that neither reads nor writes. false: closed.
  bool incref() noexcept;
  // Gives it back. true: it was the last one and the descriptor is closed: the caller destroys it.
  bool decref() noexcept;

  // A reference and the direction's lock. May park. false: closed, maybe while waiting.
  bool lock(bool read);
  // Never parks; false if closed or locked (tell the two apart by closed()).
  bool try_lock(bool read) noexcept;
  // Gives both back. Result as decref's.
  bool unlock(bool read) noexcept;

  // Marks it closed and takes a reference, to be given back by decref. All who queue wake and fail. false: it was closed before.
  bool close() noexcept;
  bool closed() const noexcept { return (state_.load(std::memory_order_acquire) & kClosed) != 0; }

 private:
  friend struct fd_mutex_test;
  static constexpr uint64_t kClosed = 1;
  static constexpr uint64_t kReadLock = 2;
  static constexpr uint64_t kWriteLock = 4;
  static constexpr uint64_t kReadQueue = 8;
  static constexpr uint64_t kWriteQueue = 16;
  static constexpr uint64_t kReference = 256;

  struct waiter {  // on the waiting goroutine's stack
    g* gp;
    waiter* next = nullptr;
    bool granted = false;
  };
  struct queue {
    waiter* head = nullptr;
    waiter* tail = nullptr;
  };

  bool lock_slow(bool read);
  static bool is_last(uint64_t state) noexcept { return (state & kClosed) != 0 && state < kReference; }

  std::atomic<uint64_t> state_{0};
  rt::mutex queue_lock_;
  queue readers_, writers_;  // guarded by queue_lock_
};

}  // namespace warren::rt

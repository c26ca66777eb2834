// Parking and readying: the only way a goroutine waits. Everything that blocks (channels, mutexes, timers, sockets) is built on
// these calls, and nothing else of the scheduler.
#pragma once
#include <cstdint>

namespace warren::rt {

struct g;  // a goroutine; complete in sched/g.h, opaque to users of this header

enum class wait_reason : uint8_t {
  none,
  chan_receive,
  chan_send,
  select,
  select_no_cases,
  sleep,
  io_wait,
  sync_mutex_lock,
  sync_wait_group,
  sync_cond_wait,
  sync_semaphore,
  sync_rwmutex_lock,
  sync_rwmutex_rlock,
  gc,
  thread,
  finalizer_wait,
  other,
};
// Go's names ("chan receive", "IO wait", …), as goroutine dumps print them.
const char* to_string(wait_reason r) noexcept;

// The current goroutine; nullptr on a thread the runtime did not start and on a scheduler stack.
// Do not keep the result of anything thread-related across a call that may park; g itself stays valid while the goroutine lives.
g* getg() noexcept;

// Parks the current goroutine until goready(gp). REQUIRES: on a goroutine, no runtime lock held (other than one that commit releases).
//
// commit (may be nullptr) runs on the scheduler's stack AFTER the goroutine's context was saved: it is the place to release the lock that
// protects the wait queue, or to publish gp by a compare-and-swap: from that moment goready may be called, from any thread, even
// before gopark has finished. commit returning false cancels: the goroutine goes on at once. commit must not park, throw or allocate.
void gopark(bool (*commit)(g*, void*), void* arg, wait_reason reason);

// Makes a parked goroutine runnable. Exactly one goready per park. Any thread may call it: a goroutine, the scheduler's stack (a timer's or
// the poller's callback), a thread the runtime did not start. Never parks. From a goroutine the readied one becomes runnext.
void goready(g* gp) noexcept;

// Puts the current goroutine at the end of the global queue and runs another.
void gosched();

// Is there a P that is idle or looks for work, so that a goroutine started now would likely run beside the caller? A hint, old when it
// arrives.
bool other_p_available() noexcept;

// May the caller's spinning on a lock be of use? Only while somebody runs on another P who could release it, and nothing waits here for the
// caller to get out of the way. A hint.
bool spinning_pays() noexcept;

// Called when a lock of a goroutine is released through commit: a gopark commit that unlocks the rt::mutex given as arg.
bool park_unlock(g* gp, void* runtime_mutex) noexcept;

// --- what a waker hands over -------------------------------------------------------------------------------------------------------
// One word that belongs to whoever parked: the waker stores it before goready, the parked goroutine reads it after gopark returned.
void* park_param(g* gp) noexcept;
void set_park_param(g* gp, void* v) noexcept;

// --- park hook ---------------------------------------------------------------------------------------------------------------------
// A connection's reader runs handlers in place and must be replaced when one of them blocks. It sets a hook on itself first: fn(arg) is
// called, once, on the current goroutine just before it first leaves its P: a park, a blocking region, a yield, or the end of its time
// slice. It is cleared before the call. fn may ready goroutines and start new ones; it must not park, throw or use more than a little
// stack.
void set_park_hook(void (*fn)(void*), void* arg) noexcept;
// Clears the hook. Returns true if it was still set, false if it had fired (or none was set).
bool clear_park_hook() noexcept;

// --- a list of goroutines that became ready together -----------------------------------------------------------------------------------
// Intrusive through g's own link: a goroutine is in at most one list or queue at a time.
struct g_list {
  g* head = nullptr;
  uint32_t size = 0;
  void push(g* gp) noexcept;
  g* pop() noexcept;
  bool empty() const noexcept { return head == nullptr; }
};

}  // namespace warren::rt

// poll_desc: how goroutines wait for one descriptor.
//
// Two binary semaphores, one per direction, each a word with Go's states (rg and wg of Go's pollDesc):
//   nil      nobody waits, no edge is remembered
//   ready    an edge came and nobody waited for it: the next wait returns at once
//   wait     a goroutine is about to park
//   g*       that goroutine is parked
//   newborn* a goroutine is to be started: it waits in place of one that is parked, and has no stack (start_when_ready)
// Who changes what: the one goroutine that holds the descriptor's lock for the direction (netpoll/fd_mutex.h) does ready→nil, nil→wait and,
// on the scheduler's stack after its context was saved, wait→g, or, as its last act with the lock, wait→newborn: the lock is then the
// newborn's. The poller does nil|wait|g|newborn→ready. A deadline or close does wait|g|newborn→nil.
// Whoever takes the g* or newborn* out readies or starts it: once.
//
// The loop of an operation (netpoll/fd.cpp):
//   prepare      fails if closed or past the deadline; ready → nil
//   system call  done unless it says EAGAIN
//   wait         parks until ready; fails as prepare does
// Nothing is lost: an edge after `prepare` makes the word ready, and `wait` finds it; an edge before `prepare` belongs to data the system
// call sees, provided the call is ordered after the store of nil. That store is a sequentially consistent exchange: a plain store could
// still lie in the store buffer while the kernel answers EAGAIN, and a poller that then reads the old `ready` would see no need to set it
// again. Against close and deadlines it is Dekker's scheme: the waiter stores `wait` and then loads flags and deadline, the other stores
// those and then loads the word, all sequentially consistent: one of them sees the other.
//
// Deadlines are words, and each side has one timer of the runtime, which belongs to the goroutine that holds the direction's lock: it arms
// the timer when it is about to park, if it is not armed for that time or earlier. When the timer fires, or somebody sets an EARLIER
// deadline, the parked goroutine is woken and looks at the clock itself: past it, timed_out; else it arms anew and parks again. So an
// operation that does not park touches no timer, a connection that moves its deadline ahead before each read has one timer operation per
// interval, and no lock is needed: only one goroutine starts and stops a given timer. (Go re-arms at each call, under pollDesc's lock.
// Taking a lock here would deadlock: timer_start may wait for the end of the timer's function, which would wait for the lock.) A firing
// leaves its seq in `fired`; the timer is armed as long as `fired` is not the number of the last arming. Firings of one timer do not
// overlap: the scheduler sees to that.
//
// Memory: pooled, never returned to the OS, so an event that was collected before the descriptor was closed and is delivered after finds a
// poll_desc, though maybe of another descriptor. Its token carries the generation; the generation and the flags share one word, so that a
// late event cannot set a flag of the new owner. It may, in a window of a few instructions, set the new owner's word to ready. That is
// harmless: every user of `wait` asks the kernel again.
//
// Runs: goroutines still parked when warren::run ends are gone, their stacks too. The side remembers the run number of who parked and who
// armed a timer; what belongs to an earlier run is neither readied nor stopped.
#pragma once
#include <atomic>
#include <cstdint>

#include "runtime/os/cpu.h"
#include "runtime/sched/netpoller.h"
#include "runtime/sched/park.h"
#include "runtime/sched/timer.h"

namespace warren::rt {

inline constexpr uint8_t kReadSide = 1;
inline constexpr uint8_t kWriteSide = 2;

enum class poll_error : uint8_t { none, closing, timeout };

class alignas(kCacheLine) poll_desc {
 public:
  poll_desc() = default;
  poll_desc(const poll_desc&) = delete;
  poll_desc& operator=(const poll_desc&) = delete;

  // --- life ---
  static poll_desc* acquire();                          // from the pool, open. Throws std::bad_alloc.
  static void release(poll_desc* pd) noexcept;          // after evict and after the descriptor was closed: nobody waits
  static poll_desc* of_token(uint64_t token) noexcept;  // nullptr: never given out
  uint64_t token() const noexcept;                      // generation and index: what the kernel gives back with an event

  // --- the goroutine that holds the direction's lock ---
  poll_error prepare(uint8_t side) noexcept;
  poll_error wait(uint8_t side);
  bool edge_remembered(uint8_t side) const noexcept;  // a wait would find it
  // In place of a wait: nb is started when a wait would return, or earlier, and holds the direction's lock from now on. false: nb is the
  // caller's still, as the wait would return at once.
  bool start_when_ready(uint8_t side, detail::newborn* nb);
  poll_error check(uint8_t side) const noexcept;  // closed or past the deadline?
  bool ended() const noexcept;                    // an event said that the peer has finished or the connection is broken. Stays set.

  // --- anybody with a reference to the descriptor; any thread ---
  // when: nanotime, 0 = none. sides: one or both.
  void set_deadline(int64_t when, uint8_t sides) noexcept;
  // Fails all waits from now on and wakes who waits. Once. Returns the sides on which a goroutine of an earlier run was parked (it will
  // never come back to release its lock).
  uint8_t evict() noexcept;

  // --- the poller ---
  // Returns false if the token is of another generation. Appends who is to run to `out`.
  bool on_event(uint64_t token, uint8_t sides, bool ended, runnable_list& out) noexcept;

 private:
  friend struct poll_desc_pool;
  friend struct poll_desc_test;

  enum word_state : uintptr_t { word_nil = 0, word_ready = 1, word_wait = 2 };  // larger: a runnable*

  // Bits of state_ below the generation.
  static constexpr uint64_t kClosing = 1;
  static constexpr uint64_t kEnded = 2;
  static constexpr int kGenerationShift = 32;

  struct side {
    std::atomic<uintptr_t> word{word_nil};
    std::atomic<int64_t> deadline{0};    // 0: none
    std::atomic<uintptr_t> fired{0};     // seq of the last firing
    uint32_t parked_in_run = 0;          // written before wait→g or newborn, read by who took it out
    std::atomic<bool> abandoned{false};  // who parked was of an earlier run: its lock will never be given back
    // The goroutine that holds the direction's lock only.
    uint32_t armed_in_run = 0;
    int64_t armed = 0;      // for when the timer was set last
    uintptr_t armings = 0;  // number of the last arming; never goes back
    timer deadline_timer;
  };

  side& of(uint8_t s) noexcept { return s == kReadSide ? read_ : write_; }
  const side& of(uint8_t s) const noexcept { return s == kReadSide ? read_ : write_; }
  static bool publish(runnable* r, std::atomic<uintptr_t>& word) noexcept;
  static bool commit_park(g* gp, void* side_word) noexcept;
  static bool begin_wait(side& s) noexcept;
  void arm_for_deadline(side& s);
  runnable* unblock(side& s, bool ready) noexcept;
  bool is_armed(const side& s) const noexcept { return s.fired.load(std::memory_order_acquire) != s.armings; }
  void arm_for(side& s, int64_t when);
  void disarm(side& s) noexcept;
  static void forget_timer(side& s) noexcept;
  static void on_read_timer(void* pd, uintptr_t seq);
  static void on_write_timer(void* pd, uintptr_t seq);
  void on_timer(side& s, uintptr_t seq) noexcept;

  std::atomic<uint64_t> state_{0};  // generation << 32 | flags
  uint32_t index_ = 0;              // constant
  poll_desc* link_ = nullptr;       // free list; guarded by the pool's lock
  side read_;
  side write_;
};

// Readies the goroutine, or starts the newborn, that on_event has taken out. Any thread, as goready.
void ready(runnable* r) noexcept;

// For tests: called, when set, at the named points of the races above. In production one relaxed load on the way to a park.
enum class poll_point : uint8_t {
  before_wait,    // the system call has said EAGAIN
  before_park,    // the word is `wait`
  event_checked,  // on_event has compared the generation
  timer_entered,  // a deadline's timer fires; nothing done yet
  before_evict,   // close was marked; before the flag is set
};
using poll_hook = void (*)(poll_point where, poll_desc* pd);
extern std::atomic<poll_hook> poll_test_hook;

}  // namespace warren::rt

// What the scheduler counts. One set per P, written by the P's owner alone, summed by whoever reads: a scrape stops nothing.
#pragma once
#include <atomic>
#include <cstdint>

namespace warren::rt {

// A counter with one writer. The load and store are relaxed and separate: no lock prefix; a reader sees some recent value.
class owned_counter {
 public:
  void add(uint64_t n = 1) noexcept { v_.store(v_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  uint64_t read() const noexcept { return v_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> v_{0};
};

struct p_counters {
  owned_counter spawned;         // goroutines created
  owned_counter ended;           // goroutines that returned
  owned_counter scheduled;       // switches to a goroutine
  owned_counter direct;          // of these, from another goroutine (direct_switch.cpp)
  owned_counter parks;           // goroutines that parked
  owned_counter readies;         // goroutines made runnable from this P
  owned_counter yields;          // gosched, by request of the goroutine
  owned_counter preemptions;     // gosched, because the time slice was over (cooperative)
  owned_counter global_gets;     // entries taken from the global queue
  owned_counter spills;          // entries moved to the global queue by a full ring
  owned_counter steal_attempts;  // victims looked at
  owned_counter steals;          // of these, successful
  owned_counter stolen;          // entries that changed hands
  owned_counter timers_fired;
  owned_counter netpoll_ready;            // goroutines the poller handed to this P
  owned_counter blocking_calls;           // declared blocking regions entered
  owned_counter blocking_returns_with_p;  // of these, returned to the same P without help of the scheduler
  owned_counter stacks_reused;            // first runs that found a dead goroutine's stack at this P
  owned_counter stacks_taken;             // first runs that went to the stack pool
};

}  // namespace warren::rt

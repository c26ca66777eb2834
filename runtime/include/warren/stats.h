// What the scheduler did and has: the figures behind /metrics and the Runtime service.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace warren {

// A snapshot. Counters are kept per P and summed here: reading stops nothing, and figures of one snapshot may be a moment apart.
// Totals count since the start of the current warren::run.
struct scheduler_stats {
  // Now.
  int64_t goroutines = 0;         // that exist, started or not
  uint32_t maxprocs = 0;          // Ps
  uint32_t idle_procs = 0;        // Ps without work
  uint32_t threads = 0;           // Ms, the idle ones included; sysmon is not one
  uint32_t spinning_threads = 0;  // Ms that look for work
  uint32_t thread_waiters = 0;    // goroutines that wait to begin a blocking call because threads are short
  uint32_t hogs = 0;              // goroutines that compute without a P
  uint32_t global_queue = 0;      // goroutines in the global run queue
  uint32_t local_queues = 0;      // goroutines in the Ps' queues
  uint64_t stack_slots = 0;       // stacks made, in use or kept for reuse
  // Address space of these, as Go counts stacks (resident is what was touched: gc_stats::stack_memory_bytes). In use: of goroutines, or
  // kept for the next ones; idle: the rest, with what was released to the system or never touched.
  uint64_t stack_bytes = 0, stack_inuse_bytes = 0, stack_idle_bytes = 0, stack_released_bytes = 0;
  uint64_t stacks_unguarded = 0;  // of stack_slots, those whose overflow is noticed late: no guard could be had
  uint64_t stacks_empty = 0;      // of stack_slots, those that cost nothing: their memory was given back, or never touched

  // Totals.
  uint64_t goroutines_created = 0;
  uint64_t switches = 0;         // to a goroutine
  uint64_t direct_switches = 0;  // of these, from another goroutine: without the scheduler's stack
  uint64_t parks = 0;
  uint64_t readies = 0;          // goroutines made runnable by a P
  uint64_t foreign_readies = 0;  // … by a thread without P
  uint64_t yields = 0;
  uint64_t preemptions = 0;  // cooperative: the time slice was over
  uint64_t global_gets = 0;  // entries taken from the global queue
  uint64_t spills = 0;       // entries that a full local queue sent there
  uint64_t steal_attempts = 0;
  uint64_t steals = 0;  // attempts that found something
  uint64_t stolen = 0;  // goroutines that changed P
  uint64_t timers_fired = 0;
  uint64_t netpoll_ready = 0;    // goroutines the network poller made ready
  uint64_t netpoll_wakeups = 0;  // times the blocked poller was woken for an earlier timer
  uint64_t blocking_calls = 0;   // declared blocking regions entered
  uint64_t retakes = 0;          // Ps taken from such regions
  uint64_t handoffs = 0;         // Ps given to another M
  uint64_t thread_wakeups = 0;   // idle Ms woken
  uint64_t hogs_revoked = 0;     // Ps taken by signal from goroutines that computed on after their slice
  uint64_t blocked_revoked = 0;  // Ps taken from goroutines in undeclared blocking calls
  uint64_t thread_waits = 0;     // times a goroutine waited to begin a blocking call
  uint64_t threads_retired = 0;  // idle threads that ended
  uint64_t world_stops = 0;
  uint64_t world_stop_retries = 0;  // stops that let the held goroutines go on for a moment, because a lock may have been in the way
  uint64_t stacks_reused = 0;       // first runs on the stack of a goroutine that ended on the same P
  uint64_t stacks_taken = 0;        // first runs that went to the pool
  uint64_t stacks_emptied = 0;      // stacks of ended goroutines whose memory was given back
  uint64_t stacks_cut = 0;          // long waits during which what lay below the stack pointer was given back
};

// Any thread, any time; all zero when no runtime runs. Allocates nothing and takes no lock that a goroutine holds for long.
scheduler_stats read_scheduler_stats() noexcept;

// How deep the goroutines that one call of warren::go started have used their stacks. From samples: a P's first 64 goroutines and one in
// 8192 thereafter (WARREN_STACKSAMPLE=N: one in N; 1: all; 0: none), looked at when they end or have waited for long. A lower bound: what
// was reserved and never written does not show.
struct stack_use {
  const void* site = nullptr;  // the return address of the call; nullptr: all sites beyond the first 512
  std::string function;        // the function that contains it, and how far into it: "serve+0x1f4"
  uint64_t samples = 0;
  uint64_t deepest = 0;  // bytes
  uint64_t mean = 0;     // bytes
  uint64_t limit = 0;    // bytes that such a goroutine has at most: its stack_size without guard and control block
};

// Any thread, any time; empty when no runtime runs. Allocates, and reads the symbol tables of the program's files.
std::vector<stack_use> read_stack_use();

}  // namespace warren

// Gives back the memory that stacks do not need any more, and takes the samples of how deep they are used. Called by sysmon.
//
//   Long-parked goroutines. Whoever went deep once (a TLS handshake, a regular expression) and then waits for an hour would keep the pages.
//     Those below the stack pointer of a goroutine that has been in one wait for kLongParked are given back, once per wait.
//   Dead goroutines and free newborns. What a burst left behind: goroutine_pool::trim, newborn_pool::trim. What was not needed for one
//     period goes; the stacks become free pages, whose memory is the heap's scavenger's business (heap/scavenger.h).
//   Samples. A P's first 64 goroutines, then one in about 8192 (WARREN_STACKSAMPLE), begin on a cleared stack; stack/stack_use.h.
//
// How long a goroutine has waited is not known: a clock at every park would cost more than the park. A pass over all goroutines notes the
// number of the wait it sees (g::parks) and when it saw it first; dumps print the minutes from there, as Go's do.
//
// What it costs. A pass is a cache miss per goroutine, some 0.1 s for a million. It runs in slices between sysmon's other duties, and not
// again before 400 times its own duration has passed: a quarter of a percent of one processor. When no goroutine has parked since the last
// two passes there is nothing to find, and sysmon may sleep.
#pragma once
#include <cstddef>
#include <cstdint>

#include "runtime/os/mutex.h"
#include "runtime/sched/g.h"
#include "runtime/stack/stack_use.h"

namespace warren::rt {

class scheduler;
struct p;

class stack_scavenger {
 public:
  explicit stack_scavenger(scheduler& s) noexcept;
  stack_scavenger(const stack_scavenger&) = delete;
  stack_scavenger& operator=(const stack_scavenger&) = delete;

  // ---- by sysmon: a slice of the work, if some is due ----
  void tick(int64_t now) noexcept;
  // How long sysmon may sleep while no goroutine runs.
  int64_t may_sleep(int64_t now) const noexcept;

  // A whole pass at once, any thread; what has been waiting at `now` for long_parked ns is cut down. For tests, and for who wants the
  // memory back.
  void pass(int64_t now, int64_t long_parked) noexcept;

  // ---- samples, by the owner of pp on its g0 ----
  // REQUIRES: gp has a stack and has not been prepared.
  void begin(p* pp, g* gp, uint32_t random) noexcept {
    gp->stack_sampled = false;
    if (--countdown_of(pp) == 0) [[unlikely]]
      begin_sample(pp, gp, random);
  }
  void end(g* gp) noexcept {
    if (gp->stack_sampled) [[unlikely]]
      measure(gp);
  }

  const stack_use_table& use() const noexcept { return use_; }

  // Held by who claims stacks.
  mutex& claims() noexcept { return claims_; }

  uint64_t stacks_cut() const noexcept { return cut_.load(std::memory_order_relaxed); }

 private:
  static constexpr size_t kBatch = 64;

  static uint32_t& countdown_of(p* pp) noexcept;
  void begin_sample(p* pp, g* gp, uint32_t random) noexcept;
  void measure(g* gp) noexcept;
  void look(uint32_t from, uint32_t to, int64_t now, int64_t long_parked) noexcept;
  void cut(g** gs, size_t n) noexcept;
  void trim_pools() noexcept;
  uint64_t activity() const noexcept;

  scheduler& s_;
  stack_use_table use_;
  mutex claims_;
  uint32_t one_in_;  // samples

  mutex work_;  // one pass or slice at a time
  // Guarded by work_.
  std::atomic<bool> young_{false};  // somebody has not waited for long enough yet

  uint32_t cursor_ = 0;
  uint32_t end_ = 0;  // of the pass under way; cursor_ == end_: none
  int64_t spent_ = 0;
  int64_t next_pass_;
  uint64_t seen_activity_ = 0;

  std::atomic<uint64_t> cut_{0};
};

}  // namespace warren::rt

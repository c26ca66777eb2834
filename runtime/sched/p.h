// p: the right to run goroutines, with everything that is needed to do so without a lock.
#pragma once
#include <atomic>
#include <cstdint>

#include "runtime/os/tiny.h"
#include "runtime/sched/counters.h"
#include "runtime/sched/g.h"
#include "runtime/sched/run_queue.h"
#include "runtime/sched/timer_heap.h"
#include "runtime/stack/stack_arena.h"

namespace warren::rt {

struct m;
struct mcache;

// Who owns the P, and who may change the status:
//   idle     the list of idle Ps (scheduler lock).
//   running  the M in `mp`. It alone gives the P away.
//   syscall  nobody for sure: the M that left it (m->old_p) wants it back, sysmon or a stop may take it. Whoever wins the compare-and-swap
//   from `syscall` owns it. gcstop   the one who stopped the world. dead     nobody; the scheduler is gone.
enum class p_status : uint32_t { idle, running, syscall, gcstop, dead };

struct p {
  explicit p(int32_t number) : id(number) {}

  const int32_t id;
  std::atomic<p_status> status{p_status::idle};
  std::atomic<m*> mp{nullptr};           // while running
  p* link = nullptr;                     // list of idle Ps
  std::atomic<uint32_t> schedtick{0};    // +1 for every goroutine that starts a time slice here
  std::atomic<uint32_t> syscalltick{0};  // +1 for every declared blocking region left
  run_queue runq;
  timer_heap timers;

  // Owner only from here.
  mcache* cache = nullptr;          // of the heap; made and emptied by the hooks in sched/hooks.h
  mcache* cache_at_hand = nullptr;  // what the M gets with the P (m.h)
  g* dead_goroutines = nullptr;     // with their stacks, newest first: the next newborn takes the hottest
  uint32_t dead_count = 0;
  page_cache stack_pages;  // free slots of class normal
  detail::newborn* free_newborns = nullptr;
  uint32_t free_newborn_count = 0;
  uint32_t ready_countdown = 0;         // rule (5) of proc.cpp: goreadies until the next sample,
  int64_t ready_stamp = 0;              // when the sampled one was, 0 if none is open,
  int64_t hand_over_ns = 20'000;        // and the average time from there to the next switch
  uint32_t stack_sample_countdown = 1;  // newborns until the next one whose stack's use is measured
  uint64_t goid_next = 0;               // a batch of ids, so that the global counter is touched rarely
  uint64_t goid_end = 0;

  p_counters counters;

  // What sysmon saw at its last look.
  uint32_t sysmon_schedtick = 0;
  uint32_t sysmon_syscalltick = 0;
  int64_t sysmon_sched_when = 0;
  int64_t sysmon_syscall_when = 0;
  int64_t sysmon_cpu_when = 0;  // 0: the M's CPU clock was not read in this time slice
  int64_t sysmon_cpu = 0;
};

}  // namespace warren::rt

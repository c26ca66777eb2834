// What the scheduler calls without knowing who listens: the heap keeps its mcache in the P, the collector wants to be started.
#pragma once
#include <cstdint>

namespace warren::rt {

class scavenger;
struct g;
struct p;
struct runnable;
enum class wait_reason : uint8_t;

struct scheduler_hooks {
  void (*p_created)(p* pp) = nullptr;                       // before the P runs anything
  void (*p_destroyed)(p* pp) = nullptr;                     // the run is over, nothing runs on it any more
  void (*runtime_started)() = nullptr;                      // on goroutine 1, before the user's function
  void (*runtime_stopping)() = nullptr;                     // on goroutine 1, after it
  bool (*runtime_may_stop)() = nullptr;                     // on g0, goroutine 1 has ended. False: not yet; who says so calls end_runtime
  void (*end_locals)() = nullptr;                           // on a goroutine that has values of goroutine_locals, at its end
  void (*parking)(const g* gp, wait_reason why) = nullptr;  // on a goroutine about to park or to yield (wait_reason::none); debug builds
  runnable* (*idle_work)() = nullptr;                       // on g0 with a P that has found nothing to run; nullptr: nothing either
  bool (*gc_is_due)() = nullptr;                            // asked by sysmon, on a thread without P
  scavenger& (*heap_scavenger)() = nullptr;                 // before a run's first stack is made: who looks after free stacks, for ever
  int64_t (*memory_tick)(int64_t now) = nullptr;            // by sysmon; returns how long it may sleep when nothing runs. Set if that is
  void (*forced_gc)() = nullptr;                            // on a goroutine of its own, when gc_is_due said so
};

// Set before warren::run (by static initialization of the parts concerned), constant afterwards.
extern scheduler_hooks sched_hooks;

}  // namespace warren::rt

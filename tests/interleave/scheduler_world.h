// The scheduler itself under the checker: runtime/sched/proc.cpp, park.cpp and what belongs to them, as they are shipped.
//
// An M is a thread of the scenario that runs m_loop. A goroutine is a stack of its own, to which the M switches as it does in a program: so
// what a goroutine has on its stack and what its g holds change hands by the scheduler's protocol alone, and where that does not order two
// threads' accesses there is a data race. A goroutine that waits for something of the scenario (wait_until) is one that computes: it keeps
// its M and its P. If work lies in a queue then, and whoever could run it sleeps, nobody can go on: the checker calls it a deadlock, and
// it is a lost wake-up.
//
// Not the shipped one: where stacks come from, what a thread is (pthread_create starts one of the scenario), the poller behind
// netpoller's interface, the deadlock detector (the checker is one), sysmon. There is none: what it would find later, is lost here.
#pragma once
#include <atomic>
#include <cstdint>

#include "interleave.h"
#include "runtime/sched/direct_switch.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/netpoller.h"
#include "runtime/sched/scheduler.h"

namespace interleave {

using warren::rt::g;
using warren::rt::m;
using warren::rt::p;
using warren::rt::scheduler;

// A poller with nothing in it but what arrive() brings. It blocks for ever or, with a limit, until time can pass (nobody else can go on).
class poller_model final : public warren::rt::netpoller {
 public:
  warren::rt::runnable_list poll(int64_t delay_ns) override;
  void wake() override { event_.wakeup(); }
  int64_t waiters() const override { return waiters_.load(std::memory_order_seq_cst); }

  void expect(g* gp) noexcept;  // in setup: gp is parked here
  void arrive() noexcept;       // its data is there: the kernel wakes whoever waits

 private:
  warren::rt::note event_;
  std::atomic<int64_t> waiters_{0};
  g* expected_ = nullptr;
  std::atomic<g*> ready_{nullptr};
};

struct world {
  scheduler* sched;
  poller_model* poller;

  // In setup. Every P is idle and has no M. most_threads: WARREN_MAX_THREADS.
  explicit world(uint32_t procs, uint32_t most_threads = 100);

  p* proc(uint32_t i) const noexcept { return sched->all_p()[i].get(); }

  // A goroutine that runs f. It is parked, as after a park whose commit has run: goready starts it.
  template <class F>
  g* goroutine(F f) {
    return make_goroutine(&body<F>, new F(std::move(f)));
  }
  // In setup: puts a goroutine that was never readied into a P's ring (the one put first runs first), or into the global queue.
  void queue(uint32_t at, g* gp);
  void queue_globally(g* gp);

  // A thread that runs the schedule loop, with that P. spinning: it looks for work already.
  m* thread(const char* name, uint32_t at, bool spinning = false);
  // One that sleeps, in the list of idle Ms.
  m* sleeper(const char* name);
  // The end of setup: they begin.
  void start(scenario& s);

  // On a goroutine: code that is not the runtime's, where signals arrive. Computes until a signal is there or enough is set, and handles
  // the signal. (A handler that meets the runtime does nothing: that is not tried here.)
  void compute(const event& enough);
  // The monitor thread's part: takes the P from whoever runs on it, as from a goroutine that is blocked in the kernel, and finds a use for
  // it.
  void take_p_away(uint32_t from);

  // On a goroutine: every M leaves its loop. The scenario ends when the last has.
  void finish();

 private:
  template <class F>
  static void body(void* f) {
    warren::rt::resumed();
    (*static_cast<F*>(f))();
    end_goroutine();
  }
  [[noreturn]] static void end_goroutine();
  g* make_goroutine(void (*fn)(void*), void* arg);
  m* make_m(const char* name, p* pp);

  struct born {
    const char* name;
    m* mp;
    bool asleep;
  };
  born born_[4];
  uint32_t born_count_ = 0;
};

}  // namespace interleave

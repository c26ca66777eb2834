// The scheduler: all Ps, all Ms, the global queue, and who is idle. One per running runtime.
//
// proc.cpp has the schedule loop and the essay on waking threads; the other files named below hold one subject each and work on this class.
#pragma once
#include <atomic>
#include <cstdint>

#include "runtime/heap/scavenger.h"
#include "runtime/os/futex.h"
#include "runtime/os/mutex.h"
#include "runtime/sched/goroutine_pool.h"
#include "runtime/sched/m.h"
#include "runtime/sched/netpoller.h"
#include "runtime/sched/p.h"
#include "runtime/sched/p_table.h"
#include "runtime/sched/stack_scan.h"
#include "runtime/sched/stack_scavenger.h"

namespace warren::rt {

class scheduler {
 public:
  explicit scheduler(int procs);
  ~scheduler();
  scheduler(const scheduler&) = delete;
  scheduler& operator=(const scheduler&) = delete;

  // The running one, for threads that have no M. nullptr between runs.
  static scheduler* current() noexcept { return running_.load(std::memory_order_acquire); }

  // Which run this is, counted from 1. For objects that outlive a run and keep something of it. Changes before the new run's scheduler can
  // be seen: whoever is inside a run (on a goroutine, on a scheduler's stack, or as a guest) reads that run's.
  static uint64_t run_number() noexcept { return runs_.load(std::memory_order_acquire); }
  // The same for this scheduler: of a thread that an earlier run has left behind, the earlier run's.
  uint64_t number() const noexcept { return number_; }

  // In a forked child (fork.cpp).
  static void forget_running() noexcept {
    running_.store(nullptr, std::memory_order_seq_cst);
    admitting_.store(nullptr, std::memory_order_seq_cst);
  }

  // The running scheduler, held: while a guest exists the run does not end, and nothing of it goes away. For threads outside, which cannot
  // know that it is about to. A run that ends admits nobody any more and then waits for the guests to leave; both sides are seq_cst, so a
  // guest that was still admitted is seen. After that no thread outside readies anybody or starts threads, and so the number of threads
  // that the run still waits for does not grow behind its back. A guest that run_number() was read under has the right run.
  // On a thread of the runtime the guest is the thread's own scheduler, which does not go while such a thread is about: not counted.
  // Async-signal-safe. Do not park while holding one on a thread outside; keep it short.
  class guest {
   public:
    guest() noexcept {
      if (const m* mp = getm(); mp != nullptr) {
        s_ = mp->sched;
        return;
      }
      guests_.fetch_add(1, std::memory_order_seq_cst);
      counted_ = true;
      s_ = admitting_.load(std::memory_order_seq_cst);
    }
    ~guest() {
      if (counted_) guests_.fetch_sub(1, std::memory_order_release);
    }
    guest(const guest&) = delete;
    guest& operator=(const guest&) = delete;
    explicit operator bool() const noexcept { return s_ != nullptr; }
    scheduler* operator->() const noexcept { return s_; }

   private:
    scheduler* s_;
    bool counted_ = false;
  };

  // ---- life cycle (lifecycle.cpp) ----
  // Runs the closure as goroutine 1 on the calling thread as m0; returns after it ended and the other Ms were told to stop.
  // Returns true if all of them have: only then may the scheduler be destroyed.
  bool run(const detail::closure_type& type, void* closure);
  bool exiting() const noexcept { return exiting_.load(std::memory_order_acquire); }
  // Ms have to come to the schedule loop.
  bool must_schedule() const noexcept { return stopping_.load(std::memory_order_seq_cst) != 0 || exiting(); }
  void begin_exit(m* mp) noexcept;

  // ---- the schedule loop (proc.cpp) ----
  void m_loop(m* mp, runnable* first = nullptr);  // first: to begin with
  // What is to run next on mp, if that can be said at once, taken from the queue; else nullptr (direct_switch.cpp).
  g* successor(m* mp) noexcept;
  void ready(m* mp, g* gp) noexcept;
  void start(m* mp, detail::newborn* nb) noexcept;  // the same for one that has waited without a stack
  void put_local(m* mp, runnable* r) noexcept {     // as runnext
    run_queue::spill over;
    if (!mp->current_p->runq.put(r, true, &over)) [[unlikely]]
      put_spilled(mp->current_p, over);
  }
  void put_global(runnable* head, runnable* tail, uint32_t n) noexcept;  // takes the lock
  void put_global_locked(runnable* head, runnable* tail, uint32_t n) noexcept;
  void inject(m* mp, runnable_list list) noexcept;
  void wake_p(bool has_p) noexcept;       // work was submitted: make sure somebody looks for it. has_p: by somebody with a P
  void wake_for_runnext(m* mp) noexcept;  // the same after put_local
  void start_m(p* pp, bool spinning) noexcept;
  void stop_m(m* mp) noexcept;
  void hand_off_p(p* pp) noexcept;
  void acquire_p(m* mp, p* pp) noexcept;
  p* release_p(m* mp) noexcept;
  void wake_netpoller(int64_t when, bool has_p = false) noexcept;  // has_p: by somebody with a P
  p* idle_p_get() noexcept;                                        // REQUIRES: lock_
  void idle_p_put(p* pp) noexcept;                                 // REQUIRES: lock_

  // ---- stopping the world (stop.cpp) ----
  void stop_the_world(const char* why);
  void start_the_world();
  void gc_stop_m(m* mp) noexcept;
  // Asks all goroutines that run with a P.
  void ask_all(m_request what) noexcept;

  // ---- taking Ps away (preempt.cpp) ----
  void on_preempt_signal(m* mp, const void* frame, const void* uc) noexcept;
  bool take_idle_p(m* mp) noexcept;
  void drop_revoked_p(m* mp) noexcept;

  // ---- resize.cpp ----
  void resize(uint32_t n);
  void follow_quota() noexcept { follows_quota_.store(true, std::memory_order_relaxed); }
  void do_not_follow_quota() noexcept { follows_quota_.store(false, std::memory_order_relaxed); }

  // ---- locked_thread.cpp ----
  void stop_locked_m(m* mp) noexcept;
  void start_locked_m(m* mp, g* gp) noexcept;

  // ---- blocking.cpp ----
  void await_thread();
  void p_left(p* pp) noexcept;
  g* after_blocking(m* mp, g* gp) noexcept;

  // ---- deadlock.cpp ---- REQUIRES: lock_
  void check_dead() noexcept;

  // ---- sysmon.cpp ----
  void sysmon_loop() noexcept;
  [[noreturn]] void helper_loop();

  void set_netpoller(netpoller* poller);

  goroutine_pool& pool() noexcept { return pool_; }
  stack_scavenger& scavenger() noexcept { return scavenger_; }
  // Of free stacks: the heap's, if the program has a heap.
  rt::scavenger& page_scavenger() noexcept { return page_scavenger_; }
  stack_scan& stacks_scan() noexcept { return stack_scan_; }
  const p_table& all_p() const noexcept { return all_p_; }
  m* all_m() const noexcept { return all_m_.load(std::memory_order_acquire); }
  bool threads_short() const noexcept { return threads_short_.load(std::memory_order_relaxed); }
  uint32_t thread_waiters() const noexcept { return thread_waiters_.load(std::memory_order_relaxed); }
  bool is_m0(const m* mp) const noexcept { return mp == &m0_; }
  // mp runs no goroutine but its own: the one that is locked to it, or, the calling thread of run, the main goroutine until that leaves it.
  bool takes_no_others(const m* mp) const noexcept { return mp->locked_g.load(std::memory_order_relaxed) != nullptr || is_m0(mp); }
  // Free lists and counters for a goroutine without a P that must not wait for one (goroutine.cpp). Runs nothing.
  p* spare_p() noexcept { return &spare_p_; }
  const p* spare_p() const noexcept { return &spare_p_; }
  mutex& spare_lock() noexcept { return spare_lock_; }
  p* first_p() const noexcept { return all_p_[0].get(); }
  int procs() const noexcept { return static_cast<int>(all_p_.in_use()); }
  uint32_t idle_p_count() const noexcept { return idle_p_count_.load(std::memory_order_relaxed); }
  uint32_t m_count() const noexcept { return m_count_.load(std::memory_order_relaxed); }
  uint32_t hogs() const noexcept { return hogs_.load(std::memory_order_relaxed); }
  uint32_t live_ms() const noexcept { return m_count() - ms_done_.load(std::memory_order_relaxed); }
  uint32_t spinning() const noexcept { return spinning_.load(std::memory_order_relaxed); }
  uint32_t global_size() const noexcept { return global_size_.load(std::memory_order_relaxed); }
  int64_t goroutine_count() const noexcept;
  struct totals {  // events that happen outside any P
    std::atomic<uint64_t> handoffs{0}, retakes{0}, m_wakeups{0}, netpoll_wakeups{0}, sysmon_polls{0}, foreign_readies{0}, stops{0},
        stop_retries{0}, thread_waits{0}, m_retirements{0};
    std::atomic<uint64_t> hog_revocations{0}, blocked_revocations{0};
  };
  totals& counts() noexcept { return totals_; }

 private:
  friend struct scheduler_test;
  friend struct gdb_access;

  runnable* find_runnable(m* mp, bool* inherit) noexcept;
  void wait_is_over(p* pp, runnable* r) noexcept;
  void put_spilled(p* pp, const run_queue::spill& over) noexcept;
  void wake_p_fenced() noexcept;    // wake_p after the StoreLoad, not on the only P
  void end_sample(p* pp) noexcept;  // rule (5) of proc.cpp, at pp's next switch. REQUIRES: pp->ready_stamp != 0
  bool loop_is_due(const p* pp) const noexcept;
  // Time to look at the global queue before pp's own.
  bool global_tick(const p* pp) const noexcept {
    constexpr uint32_t kGlobalTick = WARREN_CAPACITY(61, 3);  // Go's: prime, so that it does not beat with periodic spawns
    return pp->schedtick.load(std::memory_order_relaxed) % kGlobalTick == 0 && global_size() != 0;
  }
  // Makes a g of a newborn that was taken from a queue. On mp's P, in a bracket.
  g* give_stack(m* mp, detail::newborn* nb) noexcept;
  runnable* steal_work(m* mp, int64_t* now, int64_t* poll_until, bool* ran_timers) noexcept;
  runnable* global_get_locked(p* pp, uint32_t max) noexcept;
  bool any_queued() const noexcept;
  void run_unused_timers(p* pp) noexcept;
  void become_spinning(m* mp) noexcept;
  void reset_spinning(m* mp) noexcept;
  void wake_p_slow() noexcept;
  m* new_m() noexcept;
  void request_stop_of_running() noexcept;
  void ask(p* pp, m_request what) noexcept;
  int64_t retake(int64_t now, bool* any) noexcept;
  int64_t look_at_running(p* pp, int64_t now, bool* any) noexcept;
  bool take_from_hog(p* pp, m* mp, uint32_t tick, int64_t age) noexcept;
  bool take_from_blocked(p* pp, m* mp, uint32_t tick, int64_t age) noexcept;
  static void peek_goroutine(const m* mp, uint64_t* goid, const void** spawn_pc) noexcept;
  void wake_all_idle() noexcept;
  p* make_p();
  void resize_stopped(m* mp, uint32_t n) noexcept;
  void leave_held(p* pp) noexcept;
  bool threads_are_short() const noexcept;
  bool retire(m* mp) noexcept;
  void retired(m* mp) noexcept;
  g* pop_thread_waiter() noexcept;
  void let_thread_waiter_go() noexcept;
  m* reuse_m() noexcept;
  void watch_quota(int64_t now) noexcept;
  void await_stop() noexcept;
  bool all_held() const noexcept;
  void signal_those_who_run() noexcept;
  void let_go(bool still_stopping) noexcept;
  void hold(m* mp, const void* frame, const void* uc) noexcept;
  void end_revocation(m* mp) noexcept;
  bool revoke(p* pp, m* mp, uint32_t tick, bool by_signal) noexcept;
  static void* m_thread(void* arg);
  static void* sysmon_thread(void* arg);

  static std::atomic<scheduler*> running_;
  static std::atomic<scheduler*> admitting_;  // as running_, but for the end of the run
  static std::atomic<int> guests_;
  static std::atomic<uint64_t> runs_;
  static std::atomic<bool> left_behind_;  // an earlier run's threads are still about

  uint64_t number_ = 0;  // constant once it can be seen
  p_table all_p_;
  p spare_p_{-1};
  mutex spare_lock_;
  rt::scavenger own_page_scavenger_;
  rt::scavenger& page_scavenger_;
  goroutine_pool pool_;  // after the scavenger, which looks after its stacks
  stack_scavenger scavenger_{*this};
  stack_scan stack_scan_{*this};
  std::atomic<m*> all_m_{nullptr};
  std::atomic<uint32_t> m_count_{0};
  m m0_;
  pthread_t sysmon_handle_{};
  const int64_t time_slice_;  // ns: WARREN_SLICE_US, 10 ms
  const uint32_t max_hogs_;   // goroutines that may compute without a P at once: WARREN_MAX_HOGS
  const uint32_t max_ms_;     // threads: WARREN_MAX_THREADS
  const int64_t idle_life_;   // ns a spare idle thread is kept: WARREN_IDLE_THREAD_MS
  int64_t last_cap_report_ = 0;

  alignas(kCacheLine) mutex lock_;
  // Guarded by lock_; the sizes may be read without it.
  runnable* global_head_ = nullptr;
  runnable* global_tail_ = nullptr;
  std::atomic<uint32_t> global_size_{0};
  p* idle_ps_ = nullptr;
  std::atomic<uint32_t> idle_p_count_{0};
  m* idle_ms_ = nullptr;
  uint32_t idle_m_count_ = 0;
  bool p_without_thread_ = false;  // there was work for a P, and no thread: the next M to go idle takes one
  uint32_t locked_asleep_ = 0;     // Ms that wait for their locked goroutine to be scheduled; and m0
  m* dead_ms_ = nullptr;           // retired: their thread has ended or is about to; linked by idle_link
  g* thread_first_ = nullptr;      // goroutines that wait to enter a blocking region because threads are short
  g* thread_last_ = nullptr;
  std::atomic<uint32_t> thread_waiters_{0};
  std::atomic<bool> threads_short_{false};  // look at threads_are_short() before entering a blocking region
  std::atomic<bool> sysmon_asleep_{false};

  alignas(kCacheLine) std::atomic<uint32_t> spinning_{0};
  std::atomic<uint32_t> need_spinning_{0};
  std::atomic<uint32_t> stopping_{0};   // the world is stopped or about to be
  std::atomic<uint32_t> stop_wait_{0};  // Ps that have not stopped yet. Raised under lock_
  std::atomic<uint32_t> hogs_{0};       // goroutines that compute without a P
  std::atomic<bool> exiting_{false};
  std::atomic<bool> sysmon_holds_{false};  // goroutines that are in no queue yet

  std::atomic<netpoller*> poller_;
  std::atomic<int64_t> last_poll_{1};   // time of the last poll; 0: a thread blocks in the poller now
  std::atomic<int64_t> poll_until_{0};  // until when; 0: no limit

  g* helper_ = nullptr;                     // waits for sysmon to want something done on a goroutine; guarded by lock_
  std::atomic<bool> gc_wanted_{false};      // what it is to do
  std::atomic<uint32_t> unused_ps_{0};      // made and not in use
  std::atomic<uint32_t> procs_wanted_{0};   // 0: nothing
  std::atomic<bool> follows_quota_{false};  // the number of Ps came from affinity and quota
  int64_t quota_read_at_ = 0;
  mutex make_p_lock_;
  note stop_note_;  // the last P has stopped
  note exit_note_;  // an M has left
  note sysmon_note_;
  note revoke_note_;  // the preemption handler has run
  // One stop at a time: the others park here.
  mutex world_lock_;
  bool world_taken_ = false;  // guarded by world_lock_
  g* world_first_ = nullptr;  // those in line; guarded by world_lock_
  g* world_last_ = nullptr;
  const char* stop_reason_ = nullptr;  // of the stop under way

  std::atomic<uint32_t> ms_done_{0};
  totals totals_;
};

// mcall: leaves the current goroutine for the scheduler's stack, where fn(mp, gp) runs with gp's context saved. fn returns the goroutine to
// run next, or nullptr to schedule. Returns when somebody runs gp again, maybe on another thread.
void mcall(g* (*fn)(m*, g*), void* arg = nullptr);

}  // namespace warren::rt

// The schedule loop.
//
// G, M and P. A goroutine (g) is a stack and where it stands on it. A thread (m) executes. The P stands between them: the right to run
// goroutines, one per processor to be used, with all that running them needs and no lock: run queue, timers, mcache, free lists. With
// queues per thread instead, a thread blocked in a system call would sit on its queue and caches; with P's, it leaves them to another
// thread and goes. And there are never more threads inside the runtime than Ps, however many exist.
//
// Where a goroutine waits to run, in the order find_runnable looks:
//   the P's ring of 256 and its runnext; the global queue (every 61st time first, so that it cannot starve); the network poller, without
//   blocking; other Ps' rings, half of one at a time, in random order, their timers and runnext in the last pass only. Then the M gives its
//   P back, looks once more, and sleeps: one of the idle Ms in the poller until the next timer, the others on their notes.
//
// Waking threads
//
// Work must never wait while a P is idle; and threads should not be woken for work that a running one is about to take. An M that looks for
// work and has none is *spinning*; there are at most half as many spinning as busy Ps. The rules:
//   (1) Who submits work (ready, spawn, poller) wakes an M only if some P is idle and nobody spins.
//   (2) A spinning M that finds work stops spinning, and if it was the last, wakes another: where there was one piece there may be more.
//   (3) A spinning M that finds nothing stops spinning, and then looks at all queues once more.
// Submission and (3) form Dekker's pattern:
//     submitter: put the work in a queue;  StoreLoad;  read idle_p_count_ and spinning_
//     idler:     idle_p_count_++, spinning_--;  StoreLoad;  read the queues
// If the submitter reads old values, its work was in the queue before, and the idler sees it. Both barriers are fences. (The idler's
// read-modify-writes are full barriers on x86 and were taken for such everywhere; but in C++ they order nothing before the acquire loads of
// the queues, and aarch64's LDAPR may indeed come before an LDADDAL's store. tests/interleave/wake_test.cpp found it.)
//   (4) An M that may not spin, because enough others do, goes idle without the second look. If the others stop spinning at that moment,
//       with work, a P would be idle beside queued work until the next submission. So a submitter that sees no idle P sets
//       need_spinning_, and an M going idle that finds it set takes its P back and spins.
//   (5) A goroutine that another one readies or spawns, and that goes to runnext of an otherwise empty queue, is usually run by the same
//       P a moment later: the other is about to park (every unbuffered channel, every lock, spawn and join). Waking a thread for it
//       costs the waker 5 to 20 µs in the kernel, a hundred times the channel operation, and the woken one can at best carry the
//       conversation to another cache. Whether a thread is of use depends on how long the other goes on; so that is measured: for every
//       16th such case on a P, the time until its next switch. While the average is below 10 µs, these wake-ups are left out. If the
//       pattern changes, the first sample turns them on again (and sysmon wakes a thread for what it finds waiting at two looks).
//       The poller, timers and threads outside always wake; a goroutine that enters a blocking region wakes for what it leaves behind.
// Rejected: waking a thread at every submission (thousands of futile futex calls, brpc #1727); handing a woken thread a specific goroutine
// (it waits for a wake-up while the submitter may be done in a microsecond); a central queue (one lock for all).
#include <mutex>

#include "runtime/os/clock.h"
#include "runtime/os/fatal.h"
#include "runtime/sched/direct_switch.h"
#include "runtime/sched/hooks.h"
#include "runtime/stack/overflow.h"

namespace warren::rt {

namespace {
constexpr uint32_t kIdleMsKept = 4;  // beside one per P: what a small burst of blocking calls needs
constexpr uint32_t kGlobalBatch = run_queue::kCapacity / 2;
constexpr int kStealPasses = 4;
// Rule (5).
constexpr uint32_t kReadySampling = 16;
constexpr int64_t kQuickHandOver = 10'000;   // ns: about what waking a thread costs
constexpr int64_t kLongestSample = 100'000;  // so that 18 quick samples forget a long one
constexpr int64_t kRunnextGrace = 15'000;    // ns: see steal_work
#ifdef WARREN_TINY
constexpr bool kTiny = true;
#else
constexpr bool kTiny = false;
#endif
}  // namespace

// ---- Ps ----------------------------------------------------------------------------------------------------------------------------

void scheduler::acquire_p(m* mp, p* pp) noexcept {
  mp->current_p = pp;
  mp->cache_at_hand = pp->cache_at_hand;
  pp->mp.store(mp, std::memory_order_release);
  pp->status.store(p_status::running, std::memory_order_release);
}

p* scheduler::release_p(m* mp) noexcept {
  p* pp = mp->current_p;
  mp->current_p = nullptr;
  mp->cache_at_hand = nullptr;
  pp->mp.store(nullptr, std::memory_order_relaxed);
  pp->status.store(p_status::idle, std::memory_order_release);
  return pp;
}

void scheduler::idle_p_put(p* pp) noexcept {
  pp->link = idle_ps_;
  idle_ps_ = pp;
  idle_p_count_.fetch_add(1, std::memory_order_seq_cst);  // StoreLoad of rule (3)
}

p* scheduler::idle_p_get() noexcept {
  p* pp = idle_ps_;
  if (pp == nullptr) return nullptr;
  idle_ps_ = pp->link;
  pp->link = nullptr;
  idle_p_count_.fetch_sub(1, std::memory_order_seq_cst);
  if (sysmon_asleep_.load(std::memory_order_relaxed)) [[unlikely]] {
    sysmon_asleep_.store(false, std::memory_order_relaxed);
    sysmon_note_.wakeup();
  }
  return pp;
}

// ---- queues ------------------------------------------------------------------------------------------------------------------------

void scheduler::put_global_locked(runnable* head, runnable* tail, uint32_t n) noexcept {
  tail->next = nullptr;
  if (global_tail_ != nullptr) {
    global_tail_->next = head;
  } else {
    global_head_ = head;
  }
  global_tail_ = tail;
  global_size_.fetch_add(n, std::memory_order_seq_cst);
}

void scheduler::put_global(runnable* head, runnable* tail, uint32_t n) noexcept {
  std::lock_guard guard(lock_);
  put_global_locked(head, tail, n);
}

// Takes a fair share (or max) for pp: one is returned, the others go to its ring.
runnable* scheduler::global_get_locked(p* pp, uint32_t max) noexcept {
  const uint32_t size = global_size_.load(std::memory_order_relaxed);
  if (size == 0) return nullptr;
  uint32_t n = size / all_p_.in_use() + 1;
  if (n > size) n = size;
  if (max > 0 && n > max) n = max;
  if (n > kGlobalBatch) n = kGlobalBatch;
  runnable* first = global_head_;
  runnable* rest = first->next;
  for (uint32_t i = 1; i < n; ++i) {
    runnable* following = rest->next;
    run_queue::spill over;
    if (!pp->runq.put(rest, false, &over)) {
      // Callers ask for a batch only with an empty ring, and for one entry otherwise: no overflow. Should it come, it goes back.
      put_global_locked(over.head, over.tail, over.count);
    }
    rest = following;
  }
  global_head_ = rest;
  if (rest == nullptr) global_tail_ = nullptr;
  global_size_.fetch_sub(n, std::memory_order_seq_cst);
  pp->counters.global_gets.add(n);
  return first;
}

void scheduler::put_spilled(p* pp, const run_queue::spill& over) noexcept {
  pp->counters.spills.add(over.count);
  put_global(over.head, over.tail, over.count);
}

// After put_local, by a goroutine or the scheduler. Rule (5) of the essay.
void scheduler::wake_for_runnext(m* mp) noexcept {
#ifdef WARREN_TINY
  wake_p(true);
  if (tiny_choice(mp->next_random()) == tiny_action::lose_processor)  // thieves may be first
    for (int i = 0; i < kTinyThiefTurns && !mp->current_p->runq.empty(); ++i) tiny_lose_processor();
  return;
#endif
  if (all_p_.in_use() == 1) return;  // nobody to wake, nothing to find out
  p* pp = mp->current_p;
  if (mp->curg == nullptr || !pp->runq.ring_empty()) {
    wake_p(true);
    return;
  }
  if (pp->hand_over_ns >= kQuickHandOver) wake_p(true);
  if (pp->ready_countdown-- == 0) {
    pp->ready_countdown = kReadySampling;
    pp->ready_stamp = nanotime();  // after the wake-up, which must not count as the goroutine's time
  }
}

void scheduler::end_sample(p* pp) noexcept {
  const int64_t took = nanotime() - pp->ready_stamp;
  pp->ready_stamp = 0;
  pp->hand_over_ns += ((took < kLongestSample ? took : kLongestSample) - pp->hand_over_ns) / 8;
}

void scheduler::ready(m* mp, g* gp) noexcept {
  if (gp->status.load(std::memory_order_relaxed) != g_status::waiting) [[unlikely]]
    fatal("goready of goroutine %llu, which is %s: it was readied twice, or never parked", static_cast<unsigned long long>(gp->goid),
          to_string(gp->status.load(std::memory_order_relaxed)));
  gp->status.store(g_status::runnable, std::memory_order_release);  // as `waiting` before it: stack_claim.h
  if (mp != nullptr && mp->current_p != nullptr) {
    p* pp = mp->current_p;
    pp->counters.readies.add();
    put_local(mp, gp);
    wake_for_runnext(mp);
    return;
  }
  totals_.foreign_readies.fetch_add(1, std::memory_order_relaxed);
  put_global(gp, gp, 1);
  wake_p(false);
}

// Goroutines that the poller or a timer made ready together.
void scheduler::start(m* mp, detail::newborn* nb) noexcept {
  p* const pp = mp == nullptr ? nullptr : mp->current_p;
  wait_is_over(pp, nb);
  if (pp != nullptr) {
    put_local(mp, nb);
    wake_for_runnext(mp);
    return;
  }
  put_global(nb, nb, 1);
  wake_p(false);
}

// Before r can be found in a queue. Whoever waits without a stack is counted as a goroutine from here on. pp: whose counters; nullptr: the
// spare P's.
void scheduler::wait_is_over(p* pp, runnable* r) noexcept {
  if (!r->is_newborn) {
    static_cast<g*>(r)->status.store(g_status::runnable, std::memory_order_release);  // as in ready
    return;
  }
  if (pp != nullptr) {
    pp->counters.spawned.add();
    return;
  }
  const std::lock_guard guard(spare_lock_);
  spare_p_.counters.spawned.add();
}

void scheduler::inject(m* mp, runnable_list list) noexcept {
  if (list.empty()) return;
  uint32_t n = 0;
  p* pp = mp == nullptr ? nullptr : mp->current_p;
  runnable* head = nullptr;
  runnable* tail = nullptr;
  uint32_t global = 0;
  while (runnable* r = list.pop()) {
    wait_is_over(pp, r);
    ++n;
    run_queue::spill over;
    if (pp != nullptr) {
      if (!pp->runq.put(r, false, &over)) {
        pp->counters.spills.add(over.count);
        put_global(over.head, over.tail, over.count);
      }
      continue;
    }
    (tail == nullptr ? head : tail->next) = r;
    tail = r;
    ++global;
  }
  if (global > 0) put_global(head, tail, global);
  wake_p(pp != nullptr);
  if (pp != nullptr) return;  // one spinner takes half of the ring, and wakes the next by rule (2)
  for (uint32_t i = 1; i < n && idle_p_count_.load(std::memory_order_relaxed) > 0; ++i) {
    std::unique_lock guard(lock_);
    p* idle = idle_p_get();
    guard.unlock();
    if (idle == nullptr) break;
    start_m(idle, false);
  }
}

// ---- waking and sleeping -----------------------------------------------------------------------------------------------------------

void scheduler::wake_p(bool has_p) noexcept {
  if (has_p && all_p_.in_use() == 1) return;            // the caller is on the only P
  std::atomic_thread_fence(std::memory_order_seq_cst);  // the StoreLoad of the submitter's side, after run_queue::put
  wake_p_fenced();
}

void scheduler::wake_p_fenced() noexcept {
  if (idle_p_count_.load(std::memory_order_seq_cst) == 0) {
    if (need_spinning_.load(std::memory_order_seq_cst) != 0) return;
    need_spinning_.store(1, std::memory_order_seq_cst);  // rule (4)
    if (idle_p_count_.load(std::memory_order_seq_cst) == 0) return;
  }
  if (spinning_.load(std::memory_order_seq_cst) != 0) return;
  wake_p_slow();
}

void scheduler::wake_p_slow() noexcept {
  uint32_t none = 0;
  if (!spinning_.compare_exchange_strong(none, 1, std::memory_order_seq_cst)) return;
  std::unique_lock guard(lock_);
  p* pp = idle_p_get();
  if (pp == nullptr) {
    need_spinning_.store(1, std::memory_order_seq_cst);
    guard.unlock();
    spinning_.fetch_sub(1, std::memory_order_seq_cst);
    return;
  }
  guard.unlock();
  start_m(pp, true);
}

void scheduler::become_spinning(m* mp) noexcept {
  mp->spinning = true;
  spinning_.fetch_add(1, std::memory_order_seq_cst);
  need_spinning_.store(0, std::memory_order_seq_cst);
}

void scheduler::reset_spinning(m* mp) noexcept {
  mp->spinning = false;
  spinning_.fetch_sub(1, std::memory_order_seq_cst);
  wake_p(true);  // rule (2)
}

// Gives pp (idle, taken out of the list, owned by the caller) to an M. If spinning, the caller has already counted it in spinning_.
void scheduler::start_m(p* pp, bool spinning) noexcept {
  lock_.lock();
  m* mp = idle_ms_;
  if (mp != nullptr) {
    idle_ms_ = mp->idle_link;
    --idle_m_count_;
    lock_.unlock();
    mp->start_spinning = spinning;
    mp->next_p = pp;
    totals_.m_wakeups.fetch_add(1, std::memory_order_relaxed);
    mp->park.wakeup();
    return;
  }
  lock_.unlock();
  if (!exiting() && live_ms() < max_ms_) {
    mp = reuse_m();
    if (mp == nullptr) mp = new_m();
    mp->start_spinning = spinning;
    mp->next_p = pp;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    const int error = pthread_create(&mp->handle, &attr, &m_thread, mp);
    pthread_attr_destroy(&attr);
    if (error == 0) {
      if (live_ms() + 2 * all_p_.in_use() > max_ms_) threads_short_.store(true, std::memory_order_relaxed);
      return;
    }
    mp->done.store(true, std::memory_order_relaxed);
    mp->handle = pthread_t{};
    ms_done_.fetch_add(1, std::memory_order_relaxed);
    static std::atomic<bool> reported{false};
    if (!reported.exchange(true))
      print_error(
          "warren: cannot start thread %u (error %d): a P stays idle until a thread returns; raise RLIMIT_NPROC or use fewer blocking "
          "calls at once\n",
          m_count(), error);
  }
  // No thread to be had: the P waits in the list for one that comes back from a blocking call, or that has looked at the queues already
  // and is on its way to stop_m, where it looks at p_without_thread_.
  if (spinning) spinning_.fetch_sub(1, std::memory_order_seq_cst);
  std::unique_lock guard(lock_);
  if (stopping_.load(std::memory_order_relaxed) != 0) {
    pp->status.store(p_status::gcstop, std::memory_order_relaxed);
    if (--stop_wait_ == 0) stop_note_.wakeup();
    return;
  }
  if (idle_ms_ != nullptr) {  // one has become idle meanwhile
    guard.unlock();
    start_m(pp, false);
    return;
  }
  pp->status.store(p_status::idle, std::memory_order_relaxed);
  idle_p_put(pp);
  p_without_thread_ = true;
}

m* scheduler::new_m() noexcept {
  m* mp = new m;
  mp->sched = this;
  mp->id = static_cast<int32_t>(m_count_.fetch_add(1, std::memory_order_relaxed));
#ifdef WARREN_TINY
  mp->random = tiny_seed(mp->id + 1);
#else
  mp->random = static_cast<uint32_t>(nanotime()) * 2654435761u | 1u;
#endif
  m* head = all_m_.load(std::memory_order_relaxed);
  do {
    mp->all_link = head;
  } while (!all_m_.compare_exchange_weak(head, mp, std::memory_order_release, std::memory_order_relaxed));
  return mp;
}

void* scheduler::m_thread(void* arg) {
  m* mp = static_cast<m*>(arg);
  scheduler* s = mp->sched;
  setm(mp);
  thread_state_init(mp->thread);
  adopt_thread(mp->g0);
  mp->begin_thread();
  s->acquire_p(mp, mp->next_p);
  mp->next_p = nullptr;
  mp->spinning = mp->start_spinning;
  s->m_loop(mp);
  mp->signal_stack.teardown();
  setm(nullptr);
  if (mp->retiring) s->retired(mp);
  mp->done.store(true, std::memory_order_release);
  s->ms_done_.fetch_add(1, std::memory_order_release);
  s->exit_note_.wakeup();
  return nullptr;
}

// Sleeps until start_m hands a P over, or the scheduler exits (then current_p is nullptr).
void scheduler::stop_m(m* mp) noexcept {
  lock_.lock();
  if (exiting()) {
    lock_.unlock();
    return;
  }
  if (p_without_thread_) [[unlikely]] {
    p_without_thread_ = false;
    if (p* pp = idle_p_get()) {
      lock_.unlock();
      acquire_p(mp, pp);
      become_spinning(mp);
      return;
    }
  }
  mp->idle_link = idle_ms_;
  idle_ms_ = mp;
  ++idle_m_count_;
  const bool line = thread_first_ != nullptr;
  if (line) let_thread_waiter_go();
  check_dead();
  const bool spare = idle_m_count_ > all_p_.in_use() + kIdleMsKept && !is_m0(mp);
  lock_.unlock();
  if (line) wake_p(false);
  while (!mp->park.sleep(spare ? idle_life_ : -1))
    if (retire(mp)) return;
  mp->park.clear();
  if (mp->next_p == nullptr) return;  // exiting
  acquire_p(mp, mp->next_p);
  mp->next_p = nullptr;
  mp->spinning = mp->start_spinning;
}

// Finds a use for a P whose M has left it (the caller owns it).
void scheduler::hand_off_p(p* pp) noexcept {
  totals_.handoffs.fetch_add(1, std::memory_order_relaxed);
  if (!pp->runq.empty() || global_size() != 0) {
    start_m(pp, false);
    return;
  }
  if (spinning() + idle_p_count() == 0) {
    uint32_t none = 0;
    if (spinning_.compare_exchange_strong(none, 1, std::memory_order_seq_cst)) {
      need_spinning_.store(0, std::memory_order_seq_cst);
      start_m(pp, true);
      return;
    }
  }
  std::unique_lock guard(lock_);
  if (stopping_.load(std::memory_order_relaxed) != 0) {
    pp->status.store(p_status::gcstop, std::memory_order_relaxed);
    if (--stop_wait_ == 0) stop_note_.wakeup();
    return;
  }
  const bool last_running = idle_p_count() + 1 == all_p_.in_use() && last_poll_.load(std::memory_order_relaxed) != 0;
  if (global_size() != 0 || last_running) {  // the last one goes to the poller
    guard.unlock();
    start_m(pp, false);
    return;
  }
  const int64_t when = pp->timers.earliest();
  pp->status.store(p_status::idle, std::memory_order_relaxed);
  idle_p_put(pp);
  guard.unlock();
  if (when != 0) wake_netpoller(when);
}

// Somebody has to look at timers or descriptors no later than `when`.
void scheduler::wake_netpoller(int64_t when, bool has_p) noexcept {
  // StoreLoad: the timer's time was published by a plain store, and its heap's lock may be biased. Pairs with the seq_cst accesses to
  // last_poll_ and idle_p_count_ of those who look at the heaps before they sleep. On the only P nobody else looks.
  const bool only = has_p && all_p_.in_use() == 1;
  if (!only) std::atomic_thread_fence(std::memory_order_seq_cst);
  if (last_poll_.load(std::memory_order_seq_cst) == 0) {
    const int64_t until = poll_until_.load(std::memory_order_seq_cst);
    if (until == 0 || until > when) {
      totals_.netpoll_wakeups.fetch_add(1, std::memory_order_relaxed);
      poller_.load(std::memory_order_acquire)->wake();
    }
  } else if (!only) {
    wake_p_fenced();
  }
}

// ---- finding work ------------------------------------------------------------------------------------------------------------------

bool scheduler::any_queued() const noexcept {
  for (const auto& pp : all_p_)
    if (!pp->runq.empty()) return true;
  return false;
}

runnable* scheduler::steal_work(m* mp, int64_t* now, int64_t* poll_until, bool* ran_timers) noexcept {
  p* pp = mp->current_p;
  const auto n = all_p_.in_use();
  for (int pass = 0; pass < kStealPasses; ++pass) {
    const bool last_pass = pass == kStealPasses - 1;
    uint32_t at = mp->next_random() % n;
    for (uint32_t i = 0; i < n; ++i, at = at + 1 == n ? 0 : at + 1) {
      if (stopping_.load(std::memory_order_relaxed) != 0) return nullptr;
      p* victim = all_p_[at].get();
      if (victim == pp) continue;
      if (last_pass) {
        int64_t next = victim->timers.earliest();
        if (next != 0) {
          if (*now == 0) *now = nanotime();
          const uint32_t ran = victim->timers.run(*now, &next);
          if (next != 0 && (*poll_until == 0 || next < *poll_until)) *poll_until = next;
          if (ran > 0) {
            pp->counters.timers_fired.add(ran);
            *ran_timers = true;
            bool inherit;
            if (runnable* r = pp->runq.get(&inherit)) return r;
          }
        }
      }
      pp->counters.steal_attempts.add();
      // Whoever put a goroutine into runnext is probably about to park and run it: a channel operation takes about 50 ns. But the call that
      // woke us takes the waker itself 5 µs and more in the kernel, so it gets 15 (Go sleeps for 3, which Linux makes some 50). If the
      // victim has switched meanwhile, it turns over what it has by itself: taking the one that happens to lie there would only carry a
      // conversation of two to another cache. A P that does not run at this moment will not switch, so nothing is waited for.
      bool take_next = (last_pass || kTiny) && victim->runq.has_next();
      if (!kTiny && take_next && victim->runq.ring_empty() && victim->status.load(std::memory_order_relaxed) == p_status::running) {
        const uint64_t switches = victim->counters.scheduled.read();
        const int64_t until = nanotime() + kRunnextGrace;
        do {
          cpu_pause();
        } while (nanotime() < until && victim->counters.scheduled.read() == switches);
        take_next = victim->counters.scheduled.read() == switches;
      }
      uint32_t moved;
      if (runnable* r = victim->runq.steal_into(pp->runq, take_next, &moved)) {
        pp->counters.steals.add();
        pp->counters.stolen.add(moved);
        return r;
      }
    }
  }
  return nullptr;
}

// Timers armed on Ps that are out of use since (resize.cpp).
void scheduler::run_unused_timers(p* pp) noexcept {
  for (uint32_t i = all_p_.in_use(), made = all_p_.made(); i < made; ++i) {
    int64_t next = all_p_[i]->timers.earliest();
    if (next == 0) continue;
    if (const uint32_t ran = all_p_[i]->timers.run(nanotime(), &next)) pp->counters.timers_fired.add(ran);
  }
}

// Returns what to run, or nullptr when the scheduler exits. *inherit: it continues the time slice of the one before.
runnable* scheduler::find_runnable(m* mp, bool* inherit) noexcept {
  *inherit = false;
top:
  if (exiting()) return nullptr;
  if (mp->current_p == nullptr) return nullptr;  // woken to exit
  if (stopping_.load(std::memory_order_seq_cst) != 0) {
    gc_stop_m(mp);
    goto top;
  }
  p* pp = mp->current_p;
  int64_t now = 0;
  int64_t poll_until = pp->timers.earliest();
  if (unused_ps_.load(std::memory_order_relaxed) != 0) [[unlikely]]
    run_unused_timers(pp);
  if (poll_until != 0) {
    now = nanotime();
    if (const uint32_t ran = pp->timers.run(now, &poll_until)) pp->counters.timers_fired.add(ran);
  }

#ifdef WARREN_TINY
  if (pp->runq.ring_empty() && tiny_quarter(mp->next_random())) {  // before its own runnext
    bool ran_timers = false;
    if (runnable* r = steal_work(mp, &now, &poll_until, &ran_timers)) return r;
  }
#endif
  if (global_tick(pp)) {
    std::lock_guard guard(lock_);
    if (runnable* r = global_get_locked(pp, 1)) return r;
  }
  if (runnable* r = pp->runq.get(inherit)) return r;
  if (global_size() != 0) {
    std::lock_guard guard(lock_);
    if (runnable* r = global_get_locked(pp, 0)) return r;
  }

  netpoller* poller = poller_.load(std::memory_order_acquire);
  if (poller->waiters() > 0 && last_poll_.load(std::memory_order_relaxed) != 0) {
    runnable_list list = poller->poll(0);
    if (!list.empty()) {
      pp->counters.netpoll_ready.add(list.size);
      runnable* first = list.pop();
      wait_is_over(pp, first);
      inject(mp, list);
      return first;
    }
  }

  // Spin, unless half of the busy Ps do already.
  if (mp->spinning || 2 * spinning() < all_p_.in_use() - idle_p_count()) {
    if (!mp->spinning) become_spinning(mp);
    bool ran_timers = false;
    if (runnable* r = steal_work(mp, &now, &poll_until, &ran_timers)) return r;
    if (ran_timers) goto top;
  }

  if (sched_hooks.idle_work != nullptr)
    if (runnable* r = sched_hooks.idle_work()) return r;

  // Nothing. Give the P back, unless something changed under the lock.
  lock_.lock();
  if (stopping_.load(std::memory_order_relaxed) != 0 || exiting()) {
    lock_.unlock();
    goto top;
  }
  if (runnable* r = global_get_locked(pp, 0)) {
    lock_.unlock();
    return r;
  }
  release_p(mp);
  idle_p_put(pp);
  if (!mp->spinning && need_spinning_.load(std::memory_order_seq_cst) != 0) {  // rule (4)
    acquire_p(mp, idle_p_get());
    lock_.unlock();
    become_spinning(mp);
    goto top;
  }
  lock_.unlock();

  const bool was_spinning = mp->spinning;
  if (was_spinning) {
    mp->spinning = false;
    spinning_.fetch_sub(1, std::memory_order_seq_cst);
    std::atomic_thread_fence(std::memory_order_seq_cst);  // the StoreLoad of the idler's side
    // Rule (3): look again, at everything that a submitter may have filled before it could see that nobody spins.
    if (global_size_.load(std::memory_order_seq_cst) != 0 || any_queued()) {
      lock_.lock();
      p* again = idle_p_get();
      lock_.unlock();
      if (again != nullptr) {
        acquire_p(mp, again);
        become_spinning(mp);
        goto top;
      }
    }
    for (const auto& other : all_p_) {
      const int64_t next = other->timers.earliest();
      if (next != 0 && (poll_until == 0 || next < poll_until)) poll_until = next;
    }
  }

  // One thread waits in the poller, for descriptors and for the next timer.
  if ((poller->waiters() > 0 || poll_until != 0) && last_poll_.exchange(0, std::memory_order_seq_cst) != 0) {
    poller = poller_.load(std::memory_order_acquire);  // set_netpoller may have put the real one in its place
    poll_until_.store(poll_until, std::memory_order_seq_cst);
    int64_t delay = -1;
    if (poll_until != 0) {
      now = nanotime();
      delay = poll_until > now ? poll_until - now : 0;
    }
    if (exiting()) delay = 0;
    runnable_list list = poller->poll(delay);
    poll_until_.store(0, std::memory_order_seq_cst);
    last_poll_.store(nanotime(), std::memory_order_seq_cst);
    lock_.lock();
    p* again = idle_p_get();
    lock_.unlock();
    if (again == nullptr) {
      inject(nullptr, list);
    } else {
      acquire_p(mp, again);
      if (!list.empty()) {
        again->counters.netpoll_ready.add(list.size);
        runnable* first = list.pop();
        wait_is_over(again, first);
        inject(mp, list);
        return first;
      }
      if (was_spinning) become_spinning(mp);
      goto top;
    }
  } else if (poll_until != 0) {
    const int64_t until = poll_until_.load(std::memory_order_seq_cst);
    if (until == 0 || until > poll_until) poller->wake();
  }
  stop_m(mp);
  goto top;
}

// ---- the loop ----------------------------------------------------------------------------------------------------------------------

g* scheduler::give_stack(m* mp, detail::newborn* nb) noexcept {
  p* pp = mp->current_p;
  g* gp = pool_.g_get(pp, nb->stack_class);
  gp->goid = nb->goid;
  gp->spawn_pc = nb->spawn_pc;
  gp->spawn_goid = nb->spawn_goid;
  gp->birth = nb;
  gp->shares.store(nb->shares, std::memory_order_relaxed);
  gp->system.store(false, std::memory_order_relaxed);
  take_newborn(nb);
  if (marking_cycle.load(std::memory_order_relaxed) != 0) [[unlikely]]
    stack_scan_.born(gp, nb);
  scavenger_.begin(pp, gp, mp->random);
  prepare_fiber(gp->stack_state, pool_.stacks(), gp->slot, reinterpret_cast<std::byte*>(gp), &goroutine_entry, gp, &goexit);
  gp->status.store(g_status::runnable, std::memory_order_release);  // after birth and registers: stack_claim.h
  return gp;
}

void scheduler::m_loop(m* mp, runnable* first) {
  g* gp = nullptr;
  for (;;) {
    if (gp == nullptr && first == nullptr && takes_no_others(mp)) [[unlikely]] {
      stop_locked_m(mp);
      if (mp->current_p == nullptr) return;  // exiting
      gp = mp->locked_g.load(std::memory_order_relaxed);
    }
    if (gp == nullptr) {
      bool inherit = false;
      runnable* r = first != nullptr ? first : find_runnable(mp, &inherit);
      if (r == nullptr) return;
      first = nullptr;
      if (mp->spinning) reset_spinning(mp);
      p* pp = mp->current_p;
      if (r->is_newborn) {
        gp = give_stack(mp, static_cast<detail::newborn*>(r));
      } else {
        gp = static_cast<g*>(r);
        if (gp->locked_m != nullptr) [[unlikely]] {  // to another M: those that are locked do not come here
          start_locked_m(mp, gp);
          gp = nullptr;
          continue;
        }
      }
      if (!inherit) pp->schedtick.store(pp->schedtick.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
    mp->direct_switches = 0;
    begin_running(mp, gp);
    switch_fiber(mp->thread, mp->g0, gp->stack_state);
    // Back on this thread's own stack: mp is what it was. The goroutine has entered the bracket before it switched.
    gp = mp->curg;
    mp->curg = nullptr;
    if (mp->revoked.load(std::memory_order_relaxed) != p_kept) [[unlikely]]
      drop_revoked_p(mp);
    if (p* pp = mp->current_p; pp != nullptr && pp->ready_stamp != 0) [[unlikely]]
      end_sample(pp);
    gp = mp->mcall_fn(mp, gp);
    if (mp->current_p == nullptr) [[unlikely]] {  // revoked, or given up in a blocking region and not got back
      if (gp != nullptr) {
        gp->mp = nullptr;
        gp->status.store(g_status::runnable, std::memory_order_release);
        gp = after_blocking(mp, gp);
      } else if (mp->retiring) {
        return;
      } else if (!exiting() && !takes_no_others(mp)) {
        stop_m(mp);
      }
    }
  }
}

void mcall(g* (*fn)(m*, g*), void* arg) {
  m* mp = getm();  // whether the P was revoked is looked at on the other side
  mp->in_rt.store(1, std::memory_order_relaxed);
  asm volatile("" ::: "memory");
  mp->mcall_fn = fn;
  mp->mcall_arg = arg;
  switch_fiber(mp->thread, mp->curg->stack_state, mp->g0, false);
  resumed();
}

}  // namespace warren::rt

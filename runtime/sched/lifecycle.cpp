// From start to exit: warren::run reads like this file's scheduler::run.
#include <cxxabi.h>
#include <execinfo.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <exception>
#include <mutex>
#include <typeinfo>

#include "runtime/diag/gdb_layout.h"
#include "runtime/diag/sigquit.h"
#include "runtime/os/clock.h"
#include "runtime/os/environment.h"
#include "runtime/os/fatal.h"
#include "runtime/sched/fork.h"
#include "runtime/sched/hooks.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/maxprocs.h"
#include "runtime/sched/preempt.h"
#include "runtime/sched/scheduler.h"
#include "runtime/stack/overflow.h"

namespace warren::rt {

std::atomic<scheduler*> scheduler::running_{nullptr};
std::atomic<scheduler*> scheduler::admitting_{nullptr};
std::atomic<int> scheduler::guests_{0};
std::atomic<uint64_t> scheduler::runs_{0};
std::atomic<bool> scheduler::left_behind_{false};

netpoller* default_netpoller();

namespace {

// After the main goroutine has ended, Ms get this long to come out of the goroutines they run. Those that do not (a loop without a
// safepoint, a blocking call) are left behind.
constexpr int64_t kExitGrace = 1'000'000'000;

constexpr int64_t kTimeSlice = 10'000'000;  // Go's forcePreemptNS
// A thread each. Few programs have more loops at once that call nothing; more than this is a mistake that is better seen than fed.
constexpr uint32_t kMaxHogs = 64;
constexpr int64_t kIdleThreadMs = 5'000;
constexpr uint32_t kMaxMs = 10'000;  // Go's limit; there the program crashes beyond it

// On the alternate signal stack, in a signal handler.
void describe_goroutine(const void* slot, char* buf, size_t n) {
  scheduler* s = scheduler::current();
  if (s == nullptr) return;
  auto* base = static_cast<std::byte*>(const_cast<void*>(slot));
  const int cls = s->pool().stacks().class_of(slot);
  const g* gp = reinterpret_cast<const g*>(control_block(base, cls, sizeof(g)));
  snprintf(buf, n, "goroutine %llu", static_cast<unsigned long long>(gp->goid));
}

// An exception nobody catches ends the process, as a panic does in Go: with the goroutine, the exception and where it was thrown.
std::terminate_handler previous_terminate = nullptr;
[[noreturn]] void terminate_with_trace() {
  const g* gp = getg();
  if (gp == nullptr) {
    if (previous_terminate != nullptr) previous_terminate();
    abort();
  }
  const char* type = "none (std::terminate was called)";
  char what[256] = "";
  int status = -1;
  char* demangled = nullptr;
  if (const std::type_info* t = abi::__cxa_current_exception_type()) {
    demangled = abi::__cxa_demangle(t->name(), nullptr, nullptr, &status);
    type = status == 0 ? demangled : t->name();
    try {
      throw;
    } catch (const std::exception& e) {
      snprintf(what, sizeof what, ": %s", e.what());
    } catch (...) {
    }
  }
  print_error("fatal error: goroutine %llu: uncaught exception %s%s\n", static_cast<unsigned long long>(gp->goid), type, what);
  void* frames[64];
  const int n = backtrace(frames, 64);
  backtrace_symbols_fd(frames, n, STDERR_FILENO);
  abort();
}

}  // namespace

scheduler::scheduler(int procs)
    : page_scavenger_(sched_hooks.heap_scavenger != nullptr ? sched_hooks.heap_scavenger() : own_page_scavenger_),
      time_slice_(environment_number("WARREN_SLICE_US", 50, 10'000'000, kTimeSlice / 1000) * 1000),
      max_hogs_(static_cast<uint32_t>(environment_number("WARREN_MAX_HOGS", 0, 100'000, kMaxHogs))),
      max_ms_(static_cast<uint32_t>(environment_number("WARREN_MAX_THREADS", 2 * procs + 2, 100'000, kMaxMs))),
      idle_life_(environment_number("WARREN_IDLE_THREAD_MS", 1, 86'400'000, kIdleThreadMs) * 1'000'000),
      poller_(default_netpoller()) {
  pool_.stacks().set_scavenger(page_scavenger_);
  for (int i = 0; i < procs; ++i) make_p()->status.store(p_status::idle, std::memory_order_relaxed);
  all_p_.use(static_cast<uint32_t>(procs));
  all_p_[0]->runq.set_unshared(procs == 1);
  std::lock_guard guard(lock_);
  for (int i = procs - 1; i >= 1; --i) idle_p_put(all_p_[i].get());
}

scheduler::~scheduler() {
  for (const auto& pp : all_p_)
    if (sched_hooks.p_destroyed != nullptr) sched_hooks.p_destroyed(pp.get());
  for (m* mp = all_m_.load(); mp != nullptr;) {
    m* next = mp->all_link;
    if (mp != &m0_) delete mp;
    mp = next;
  }
}

bool scheduler::run(const detail::closure_type& type, void* closure) {
  check_not_forked();
  if (left_behind_.load(std::memory_order_acquire))
    fatal(
        "warren::run after a run whose threads are still in a blocking call or a loop: their goroutines could touch the new run's heap; "
        "let them end before the main goroutine "
        "does");
  number_ = runs_.fetch_add(1, std::memory_order_acq_rel) + 1;  // before running_: see run_number
  scheduler* none = nullptr;
  if (!running_.compare_exchange_strong(none, this)) fatal("warren::run inside warren::run: one runtime at a time");
  admitting_.store(this, std::memory_order_seq_cst);

  // m0 and its g0: the calling thread.
  m0_.sched = this;
  m0_.id = static_cast<int32_t>(m_count_.fetch_add(1));
#ifdef WARREN_TINY
  m0_.random = tiny_seed(1);
#else
  m0_.random = static_cast<uint32_t>(nanotime()) | 1u;
#endif
  m0_.all_link = all_m_.load(std::memory_order_relaxed);
  all_m_.store(&m0_, std::memory_order_release);
  setm(&m0_);
  thread_state_init(m0_.thread);
  adopt_thread(m0_.g0);
  install_preempt_signal();
  m0_.begin_thread();
  install_overflow_handler(&pool_.stacks(), &describe_goroutine);
  keep_gdb_layout();
  watch_forks();
  install_quit_handler([] {
    // In a signal handler: the guest keeps the scheduler alive, and a note is woken by a store and a futex call.
    const guest s;
    if (s) s->sysmon_note_.wakeup();
  });
  previous_terminate = std::set_terminate(&terminate_with_trace);
  acquire_p(&m0_, all_p_[0].get());

  // The main goroutine, number 1. Its closure stays where it is.
  detail::newborn* main = pool_.newborns().get(m0_.current_p);
  main->goid = pool_.next_goid(m0_.current_p);
  main->stack_class = static_cast<uint8_t>(stack_size::huge);
  main->closure = closure;
  main->spawn_pc = __builtin_return_address(0);
  main->type = &type;
  main->borrowed = true;
  m0_.current_p->counters.spawned.add();
  last_poll_.store(nanotime(), std::memory_order_relaxed);
  if (const int error = pthread_create(&sysmon_handle_, nullptr, &sysmon_thread, this))
    fatal("cannot start the monitor thread (error %d); raise RLIMIT_NPROC", error);

  m_loop(&m0_, main);  // until the main goroutine has ended, here or elsewhere

  // Threads outside are shut out before the others are counted: one that readies a goroutine may be about to start a thread for it.
  admitting_.store(nullptr, std::memory_order_seq_cst);
  while (guests_.load(std::memory_order_seq_cst) != 0) sched_yield();

  // The others follow: idle ones are woken, running ones come at their next safepoint.
  pthread_join(sysmon_handle_, nullptr);
  const int64_t deadline = nanotime() + kExitGrace;
  while (ms_done_.load(std::memory_order_acquire) + 1 < m_count() && nanotime() < deadline) {
    for (const auto& pp : all_p_) ask(pp.get(), request_stop);
    wake_all_idle();
    exit_note_.sleep(1'000'000);
    exit_note_.clear();
  }
  const bool all_gone = ms_done_.load(std::memory_order_acquire) + 1 == m_count();
  for (m* mp = all_m_.load(); mp != nullptr; mp = mp->all_link) {
    if (mp == &m0_ || mp->handle == pthread_t{}) continue;
    if (mp->done.load(std::memory_order_acquire)) {
      pthread_join(mp->handle, nullptr);
    } else {
      pthread_detach(mp->handle);
    }
  }
  std::set_terminate(previous_terminate);
  remove_quit_handler();
  m0_.signal_stack.teardown();
  setm(nullptr);
  if (all_gone) remove_overflow_handler();
  running_.store(nullptr, std::memory_order_seq_cst);
  if (!all_gone) left_behind_.store(true, std::memory_order_release);
  return all_gone;
}

// On g0, the main goroutine has just ended.
void scheduler::begin_exit(m* mp) noexcept {
  exiting_.store(true, std::memory_order_seq_cst);
  for (const auto& pp : all_p_) ask(pp.get(), request_stop);
  wake_all_idle();
  poller_.load(std::memory_order_acquire)->wake();
  (void)mp;
}

void scheduler::wake_all_idle() noexcept {
  lock_.lock();
  m* idle = idle_ms_;
  idle_ms_ = nullptr;
  idle_m_count_ = 0;
  if (sysmon_asleep_.exchange(false)) sysmon_note_.wakeup();
  lock_.unlock();
  while (idle != nullptr) {
    m* next = idle->idle_link;
    idle->park.wakeup();  // with next_p null: it leaves
    idle = next;
  }
  for (m* mp = all_m(); mp != nullptr; mp = mp->all_link)
    if (takes_no_others(mp)) mp->park.wakeup();
}

int64_t scheduler::goroutine_count() const noexcept {
  auto n = static_cast<int64_t>(spare_p_.counters.spawned.read());
  for (const auto& pp : all_p_) n += static_cast<int64_t>(pp->counters.spawned.read()) - static_cast<int64_t>(pp->counters.ended.read());
  return n;
}

}  // namespace warren::rt

namespace warren {

namespace detail {
int run_main(const closure_type& type, void* closure) {
  const rt::procs_choice procs = rt::choose_maxprocs();
  auto* s = new rt::scheduler(procs.n);
  if (procs.from_machine) s->follow_quota();
  // A scheduler that threads are still inside of stays: its memory is theirs.
  if (s->run(type, closure)) delete s;
  return 0;
}
}  // namespace detail

int maxprocs() noexcept {
  const rt::scheduler::guest s;
  return s ? s->procs() : 0;
}

int64_t goroutine_count() noexcept {
  const rt::scheduler::guest s;
  return s ? s->goroutine_count() : 0;
}

}  // namespace warren

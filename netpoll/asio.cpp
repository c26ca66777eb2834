// Where Asio's reactor runs, and how functions posted to the scheduler become goroutines.
//
// The io_context has a thread of its own, which the runtime did not start: a goroutine in a blocking region would keep one of the
// runtime's Ms for ever and end with each warren::run, while Asio's services live as long as the process. From there nothing but "ready
// this goroutine" and "take this function" reaches the scheduler, and both may be done by any thread.
//
// Functions posted by a goroutine become goroutines at once, without a detour through memory of ours: the collector scans the closures of
// goroutines, and nothing else that a function could wait in. Those from other threads go into a list; a goroutine of the current run (the
// runner) waits for it and starts them. The runner is there from the first time that a goroutine touches the context or the executor, which
// is how anything gets to post to them. It waits outside of the poller's count: a program in which only the runner waits has no work left
// that anybody could post but Asio's thread; whoever waits for that (park) is counted.
#include "warren/asio.h"

#include <signal.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "netpoll/event.h"
#include "netpoll/poller.h"
#include "runtime/os/mutex.h"
#include "runtime/sched/park.h"
#include "runtime/sched/scheduler.h"
#include "warren/go.h"
#include "warren/net.h"

namespace warren {

namespace {

struct inbox {
  rt::mutex lock;
  detail::posted* first = nullptr;  // guarded by lock
  detail::posted* last = nullptr;   // guarded by lock
  std::atomic<uint64_t> run{0};     // whose runner exists
  rt::event posted;                 // the runner of the current run waits
};

inbox& the_inbox() {
  static inbox* const box = new inbox;  // never destroyed: Asio's thread may post while the process ends
  return *box;
}

void start(std::unique_ptr<detail::posted> p) {
  warren::go([p = std::move(p)]() mutable { p->run(); });
}

void run_posted(uint64_t run) {
  inbox& box = the_inbox();
  while (run == rt::scheduler::run_number()) {
    detail::posted* list;
    {
      std::lock_guard held(box.lock);
      list = box.first;
      box.first = box.last = nullptr;
    }
    while (list != nullptr) {
      std::unique_ptr<detail::posted> p(list);
      list = list->next;
      start(std::move(p));
    }
    box.posted.wait(0);
  }
}

// On a goroutine: the current run has its runner afterwards.
void need_runner() {
  int error = 0;
  rt::poller* p = rt::poller::get(&error);
  if (p == nullptr) detail::throw_net_error("asio_context", asio::error_code(error, asio::system_category()));
  p->attach();
  inbox& box = the_inbox();
  const uint64_t run = rt::scheduler::run_number();
  uint64_t old = box.run.load(std::memory_order_acquire);
  if (old == run || !box.run.compare_exchange_strong(old, run, std::memory_order_acq_rel)) return;
  try {
    warren::go([run] { run_posted(run); });
  } catch (...) {
    box.run.store(old, std::memory_order_release);  // the next one tries again
    throw;
  }
}

}  // namespace

namespace detail {

bool posts_from_goroutine() {
  if (rt::getg() == nullptr) return false;
  need_runner();
  return true;
}

void post_to_scheduler(std::unique_ptr<posted> p) {
  inbox& box = the_inbox();
  {
    std::lock_guard held(box.lock);
    detail::posted* raw = p.release();
    (box.last == nullptr ? box.first : box.last->next) = raw;
    box.last = raw;
  }
  box.posted.set();
}

struct completion::state {
  rt::event done;
};
completion::completion() : state_(std::make_unique<state>()) { need_runner(); }
completion::~completion() = default;
void completion::set() noexcept { state_->done.set(); }
void completion::wait() {
  while (!state_->done.wait(0, true)) {
  }
}

}  // namespace detail

asio::io_context& asio_context() {
  // Never destroyed: its thread runs until the process ends.
  static asio::io_context* const context = [] {
    auto made = std::make_unique<asio::io_context>(1);
    // Signals go to the threads that expect them.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      std::thread([context = made.get()] {
        const auto work = asio::make_work_guard(*context);
        context->run();
      }).detach();
    } catch (...) {  // no thread to be had: the next call tries again
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
      throw;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return made.release();
  }();
  if (rt::getg() != nullptr) need_runner();
  return *context;
}

tcp_conn::executor_type tcp_conn::get_executor() const { return executor(); }

}  // namespace warren

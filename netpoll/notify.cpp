// Signals as values on channels, after Go's os/signal.
//
// A handler may do next to nothing: it runs on whatever thread, between any two instructions. It sets the signal's bit and writes a byte
// into a pipe. A goroutine reads the pipe through the poller, takes the bits and sends each signal to those who asked for it. Like the
// kernel's own pending set, the bits coalesce: two SIGHUPs before the goroutine gets to look are one. A pipe that is full has bytes enough
// in it.
//
// Why not signalfd, as signal.cpp? It needs the signal blocked in every thread, those included that were started long ago by others, and
// two descriptors for one signal steal from each other. A handler needs nothing of that and works on every system.
//
// One hub per warren::run, from its first signal_notify to its end. There it is taken apart, on goroutine 1 (the hook runtime_stopping),
// while everything it needs still works: channels are forgotten, signals do again what they did before, the reader leaves, the pipe is
// closed. If that were left to the next run, a SIGTERM between runs, or in a run that asks for none, would be swallowed; and nobody could
// take the hub's lock any more if one of the goroutines abandoned in between held it.
//   Other goroutines go on for a moment after that. What they ask of an ended hub does nothing: they will not come to receive. `ended_run`
//   keeps them from making a new one.
//   A handler may still be about, on another thread, with the pipe's number in its hand: `in_handler` is raised before the number is read
//   and lowered after the write. Who closes the pipe takes the number away first and then waits for zero (both sequentially consistent:
//   Dekker's pattern), so no byte goes into somebody else's descriptor. A handler that has not got so far finds no pipe. Its bit stays, and
//   the next hub may send it on if it comes that late: a signal that did arrive, and nobody else has seen.
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "netpoll/fd.h"
#include "netpoll/net_error.h"
#include "netpoll/signal_numbers.h"
#include "netpoll/sys.h"
#include "runtime/os/mutex.h"
#include "runtime/sched/hooks.h"
#include "runtime/sched/scheduler.h"
#include "warren/chan.h"
#include "warren/net.h"
#include "warren/signal.h"
#include "warren/sync.h"

namespace warren {

namespace {

namespace sys = rt::sys;

// For the handler.
std::atomic<uint64_t> pending[(rt::kSignals + 63) / 64];
std::atomic<int> pipe_write{-1};
std::atomic<int> in_handler{0};

extern "C" void warren_on_signal(int s) {
  const int saved = errno;
  in_handler.fetch_add(1, std::memory_order_seq_cst);
  pending[s / 64].fetch_or(uint64_t{1} << s % 64, std::memory_order_seq_cst);
  const char byte = 's';
  const int to = pipe_write.load(std::memory_order_seq_cst);
  if (to >= 0) [[maybe_unused]]
    const ssize_t n = ::write(to, &byte, 1);  // full: the goroutine will look anyway
  in_handler.fetch_sub(1, std::memory_order_release);
  errno = saved;
}

struct subscription {
  root_chan<int> to;
  uint64_t wanted[(rt::kSignals + 63) / 64] = {};
  bool wants(int s) const noexcept { return (wanted[s / 64] >> s % 64 & 1) != 0; }
};

struct hub {
  const uint64_t run;
  rt::fd* const reader;
  const int write_end;
  // Held while signals are handed out too: after signal_stop has returned nothing comes any more.
  mutex lock;
  bool ended = false;                     // guarded by lock
  std::vector<subscription> all;          // guarded by lock
  bool handled[rt::kSignals] = {};        // guarded by lock
  struct sigaction before[rt::kSignals];  // guarded by lock; where handled

  hub(uint64_t number, rt::fd* from, int to) noexcept : run(number), reader(from), write_end(to) {}
  ~hub() { reader->release(); }
  void hand_out();
  void watch(int s);
  void unwatch_unwanted();
  void close() noexcept;
};

// Not a goroutine's lock: those are lost with a goroutine that is abandoned. Nothing under it parks or is a safepoint.
constinit rt::mutex making;
std::shared_ptr<hub> current;  // guarded by making
uint64_t ended_run = 0;        // guarded by making

void hub::hand_out() {
  lock_guard held(lock);
  for (size_t w = 0; w < std::size(pending); ++w) {
    uint64_t bits = pending[w].exchange(0, std::memory_order_seq_cst);
    while (bits != 0) {
      const int s = static_cast<int>(w * 64) + __builtin_ctzll(bits);
      bits &= bits - 1;
      for (const subscription& sub : all)
        if (sub.wants(s)) static_cast<void>(sub.to.get().try_send(s));
    }
  }
}

// REQUIRES: lock.
void hub::watch(int s) {
  if (handled[s]) return;
  struct sigaction action {};
  action.sa_handler = &warren_on_signal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  handled[s] = sys::sigaction(s, &action, &before[s]).ok();
}

// REQUIRES: lock.
void hub::unwatch_unwanted() {
  for (int s = 1; s < rt::kSignals; ++s) {
    if (!handled[s] || std::any_of(all.begin(), all.end(), [s](const subscription& sub) { return sub.wants(s); })) continue;
    sys::sigaction(s, &before[s], nullptr);
    handled[s] = false;
  }
}

// Ends the reader. On a goroutine; no handler writes any more.
void hub::close() noexcept {
  asio::error_code ignored;
  reader->close(ignored);
  sys::close(write_end);
}

void read_loop(hub& h) {
  for (;;) {
    char bytes[64];
    asio::error_code ec;
    h.reader->read(bytes, sizeof bytes, ec);
    if (ec) return;
    h.hand_out();
  }
}

std::shared_ptr<hub> make_hub(uint64_t run) {
  int ends[2];
  const sys::result made = sys::pipe(ends);
  asio::error_code ec(made.error, asio::system_category());
  rt::fd* reader = ec ? nullptr : rt::fd::open(ends[0], ec);
  if (reader == nullptr) {
    if (made.ok()) sys::close(ends[1]);
    detail::throw_net_error("signal_notify", ec);
  }
  std::shared_ptr<hub> h;
  try {
    h = std::make_shared<hub>(run, reader, ends[1]);
  } catch (...) {
    reader->release();
    sys::close(ends[1]);
    throw;
  }
  try {
    warren::go([h] { read_loop(*h); });
  } catch (...) {
    h->close();
    throw;
  }
  return h;
}

// The hub of the current run; nullptr while that ends. On a goroutine.
std::shared_ptr<hub> get_hub() {
  const uint64_t run = rt::scheduler::run_number();
  {
    const std::lock_guard held(making);
    if (ended_run == run) return nullptr;
    if (current != nullptr) return current;
  }
  std::shared_ptr<hub> mine = make_hub(run), used;
  {
    const std::lock_guard held(making);
    if (ended_run != run && current == nullptr) {
      for (auto& bits : pending) bits.store(0, std::memory_order_relaxed);
      pipe_write.store(mine->write_end, std::memory_order_seq_cst);
      return current = std::move(mine);
    }
    used = ended_run == run ? nullptr : current;
  }
  mine->close();  // another goroutine was first
  return used;
}

void (*next_stopping_hook)() = nullptr;

// On goroutine 1, after the user's function.
void end_hub() {
  std::shared_ptr<hub> h;
  {
    const std::lock_guard held(making);
    ended_run = rt::scheduler::run_number();
    h = std::move(current);
  }
  if (h != nullptr) {
    {
      const lock_guard held(h->lock);
      h->ended = true;
      h->all.clear();
      h->unwatch_unwanted();
    }
    pipe_write.store(-1, std::memory_order_seq_cst);
    while (in_handler.load(std::memory_order_seq_cst) != 0) sched_yield();
    h->close();
  }
  if (next_stopping_hook != nullptr) next_stopping_hook();
}

const bool hooked = [] {
  next_stopping_hook = rt::sched_hooks.runtime_stopping;
  rt::sched_hooks.runtime_stopping = &end_hub;
  return true;
}();

}  // namespace

void signal_notify(const chan<int>& c, std::initializer_list<int> signals) {
  rt::check_signals("signal_notify", signals);
  if (!c) {
    throw net_error(asio::error::invalid_argument, rt::net_error_line("signal_notify", {}, asio::error::invalid_argument,
                                                                      "nil channel; make one with room for at least one signal"));
  }
  sigset_t blocked;
  sys::blocked_signals(&blocked);
  for (const int s : signals)
    if (sigismember(&blocked, s) == 1)
      rt::refuse_signal("signal_notify", s, "is blocked and would not come; leave it out of warren::block_signals, or use wait_signal");
  const std::shared_ptr<hub> h = get_hub();
  if (h == nullptr) return;
  lock_guard held(h->lock);
  if (h->ended) return;
  auto at = std::find_if(h->all.begin(), h->all.end(), [&](const subscription& sub) { return sub.to.get() == c; });
  if (at == h->all.end()) {
    h->all.push_back(subscription{root_chan<int>(c)});
    at = h->all.end() - 1;
  }
  for (const int s : signals) at->wanted[s / 64] |= uint64_t{1} << s % 64;
  for (const int s : signals) h->watch(s);
}

void signal_stop(const chan<int>& c) {
  std::shared_ptr<hub> h;
  {
    const std::lock_guard held_shortly(making);
    h = current;
  }
  if (h == nullptr) return;  // nobody was ever notified in this run, or it ends
  lock_guard held(h->lock);
  std::erase_if(h->all, [&](const subscription& sub) { return sub.to.get() == c; });
  h->unwatch_unwanted();
}

}  // namespace warren

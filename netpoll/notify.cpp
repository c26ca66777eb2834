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
// One hub per warren::run: goroutines of an earlier run are gone, and with them who would have received. What an old hub holds is dropped
// when the next one is made: its channels, its descriptor, and the dispositions that it changed.
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <vector>

#include "netpoll/fd.h"
#include "netpoll/net_error.h"
#include "netpoll/poller.h"
#include "netpoll/signal_numbers.h"
#include "netpoll/sys.h"
#include "runtime/os/mutex.h"
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

extern "C" void warren_on_signal(int s) {
  const int saved = errno;
  pending[s / 64].fetch_or(uint64_t{1} << s % 64, std::memory_order_seq_cst);
  const char byte = 's';
  const int to = pipe_write.load(std::memory_order_acquire);
  if (to >= 0) [[maybe_unused]]
    const ssize_t n = ::write(to, &byte, 1);  // full: the goroutine will look anyway
  errno = saved;
}

struct subscription {
  root_chan<int> to;
  uint64_t wanted[(rt::kSignals + 63) / 64] = {};
  bool wants(int s) const noexcept { return (wanted[s / 64] >> s % 64 & 1) != 0; }
};

struct hub {
  uint32_t run = 0;
  rt::fd* reader = nullptr;
  int write_end = -1;
  // Held while signals are handed out too: after signal_stop has returned nothing comes any more.
  mutex lock;
  std::vector<subscription> all;          // guarded by lock
  bool handled[rt::kSignals] = {};        // guarded by lock
  struct sigaction before[rt::kSignals];  // guarded by lock; where handled

  void hand_out();
  void watch(int s);
  void unwatch_unwanted();
};

constinit std::atomic<hub*> current{nullptr};
constinit mutex making;

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

void read_loop(hub* h) {
  for (;;) {
    char bytes[64];
    asio::error_code ec;
    h->reader->read(bytes, sizeof bytes, ec);
    if (ec) return;
    h->hand_out();
  }
}

// The hub of the current run. On a goroutine.
hub& get_hub() {
  int error = 0;
  rt::poller* p = rt::poller::get(&error);
  if (p == nullptr) detail::throw_net_error("signal_notify", asio::error_code(error, asio::system_category()));
  p->attach();
  const uint32_t run = rt::poller::run_number();
  hub* h = current.load(std::memory_order_acquire);
  if (h != nullptr && h->run == run) return *h;
  lock_guard held(making);
  h = current.load(std::memory_order_acquire);
  if (h != nullptr && h->run == run) return *h;
  if (h != nullptr) {
    // Its lock may be held for ever by a goroutine that is gone; nobody else uses it any more.
    h->all.clear();
    h->unwatch_unwanted();
    pipe_write.store(-1, std::memory_order_release);
    h->reader->release();
    sys::close(h->write_end);
    current.store(nullptr, std::memory_order_release);
    // Not deleted: a goroutine of the old run may stand in the midst of its lock.
  }
  int ends[2];
  const sys::result made = sys::pipe(ends);
  asio::error_code ec(made.error, asio::system_category());
  rt::fd* reader = ec ? nullptr : rt::fd::open(ends[0], ec);
  if (reader == nullptr) {
    if (made.ok()) sys::close(ends[1]);
    detail::throw_net_error("signal_notify", ec);
  }
  h = new hub;
  h->run = run;
  h->reader = reader;
  h->write_end = ends[1];
  for (auto& bits : pending) bits.store(0, std::memory_order_relaxed);
  pipe_write.store(ends[1], std::memory_order_release);
  current.store(h, std::memory_order_release);
  warren::go([h] { read_loop(h); });
  return *h;
}

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
  hub& h = get_hub();
  lock_guard held(h.lock);
  auto at = std::find_if(h.all.begin(), h.all.end(), [&](const subscription& sub) { return sub.to.get() == c; });
  if (at == h.all.end()) {
    h.all.push_back(subscription{root_chan<int>(c)});
    at = h.all.end() - 1;
  }
  for (const int s : signals) at->wanted[s / 64] |= uint64_t{1} << s % 64;
  for (const int s : signals) h.watch(s);
}

void signal_stop(const chan<int>& c) {
  hub* h = current.load(std::memory_order_acquire);
  if (h == nullptr || h->run != rt::poller::run_number()) return;
  lock_guard held(h->lock);
  std::erase_if(h->all, [&](const subscription& sub) { return sub.to.get() == c; });
  h->unwatch_unwanted();
}

}  // namespace warren

#include "netpoll/resolver.h"

#include <netdb.h>
#include <string.h>

#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <optional>

#include "netpoll/event.h"
#include "runtime/os/mutex.h"
#include "runtime/sched/scheduler.h"
#include "warren/go.h"

namespace warren::rt {

constinit std::atomic<lookup_function> lookup_test_hook{nullptr};

namespace {

// Shared by who asked and who looks up: either may be the last to leave.
struct lookup {
  std::string host;
  uint16_t port;
  bool passive;
  sys::lookup_result result{};        // written before `finished`
  std::atomic<bool> finished{false};  // by the worker
  event changed;                      // finished, or stopped
};

struct line {
  mutex lock;
  // Guarded by lock.
  std::list<std::shared_ptr<lookup>> waiting;
  int workers = 0;
  uint64_t run = 0;  // whose workers and requests these are: goroutines of an earlier run are gone
  uint64_t done = 0;
};

// Never destroyed: a lookup left behind may end while the process does.
line& the_line() {
  static line* const l = new line;
  return *l;
}

void look_up(lookup& l) noexcept {
  try {
    const lookup_function hook = lookup_test_hook.load(std::memory_order_acquire);
    l.result = warren::blocking([&] { return hook != nullptr ? hook(l.host, l.port, l.passive) : sys::lookup(l.host, l.port, l.passive); });
  } catch (...) {
    l.result.error = EAI_MEMORY;
  }
}

void work(uint64_t run) {
  line& all = the_line();
  for (;;) {
    std::shared_ptr<lookup> l;
    {
      std::lock_guard held(all.lock);
      if (all.run != run) return;
      if (all.waiting.empty()) {
        --all.workers;
        return;
      }
      l = std::move(all.waiting.front());
      all.waiting.pop_front();
    }
    look_up(*l);
    {
      std::lock_guard held(all.lock);
      ++all.done;
    }
    l->finished.store(true, std::memory_order_release);
    l->changed.set();
  }
}

void submit(const std::shared_ptr<lookup>& l) {
  line& all = the_line();
  const uint64_t run = scheduler::run_number();
  bool hire = false;
  {
    std::lock_guard held(all.lock);
    if (all.run != run) {
      all.run = run;
      all.waiting.clear();
      all.workers = 0;
    }
    all.waiting.push_back(l);
    if (all.workers < kConcurrentLookups) {
      ++all.workers;
      hire = true;
    }
  }
  if (!hire) return;
  try {
    warren::go([run] { work(run); }, stack_size::huge);
  } catch (...) {
    std::lock_guard held(all.lock);
    if (all.run != run || --all.workers > 0) return;  // those that there are get to it
    all.waiting.remove(l);
    throw;
  }
}

void withdraw(const std::shared_ptr<lookup>& l) noexcept {
  line& all = the_line();
  std::lock_guard held(all.lock);
  all.waiting.remove(l);
}

asio::error_code resolver_error(const sys::lookup_result& r) {
  switch (r.error) {
    case EAI_NONAME: return asio::error::host_not_found;
#if defined(EAI_NODATA) && EAI_NODATA != EAI_NONAME
    case EAI_NODATA: return asio::error::host_not_found;
#endif
    case EAI_AGAIN: return asio::error::host_not_found_try_again;
    case EAI_MEMORY: return asio::error::no_memory;
    case EAI_FAMILY: return asio::error::address_family_not_supported;
    case EAI_SYSTEM: return asio::error_code(r.system_error, asio::system_category());
    default: return asio::error::no_recovery;
  }
}

}  // namespace

resolver_statistics resolver_stats() noexcept {
  line& all = the_line();
  std::lock_guard held(all.lock);
  const int in_line = static_cast<int>(all.waiting.size());
  return {all.workers, in_line, all.done};
}

std::vector<tcp_endpoint> resolve(const std::string& host, uint16_t port, bool passive, int64_t deadline, const std::stop_token& stop,
                                  asio::error_code& ec) {
  std::vector<tcp_endpoint> out;
  if (stop.stop_requested()) {
    ec = asio::error::operation_aborted;
    return out;
  }
  auto l = std::make_shared<lookup>();
  l->host = host;
  l->port = port;
  l->passive = passive;
  submit(l);
  {
    const auto wake = [&l] { l->changed.set(); };
    std::optional<std::stop_callback<decltype(wake)>> stopped;
    if (stop.stop_possible()) stopped.emplace(stop, wake);
    while (!l->finished.load(std::memory_order_acquire)) {
      bool in_time;
      try {
        in_time = l->changed.wait(deadline);
      } catch (...) {
        withdraw(l);
        throw;
      }
      if (l->finished.load(std::memory_order_acquire)) break;
      if (in_time && !stop.stop_requested()) continue;
      withdraw(l);
      ec = in_time ? asio::error::operation_aborted : asio::error::timed_out;
      return out;
    }
  }
  if (l->result.error != 0) {
    ec = resolver_error(l->result);
    return out;
  }
  ec.clear();
  for (const sys::socket_address& a : l->result.addresses) {
    tcp_endpoint e;
    if (a.size > e.capacity()) continue;
    memcpy(e.data(), &a.storage, a.size);
    e.resize(a.size);
    out.push_back(e);
  }
  if (out.empty()) ec = asio::error::host_not_found;
  return out;
}

}  // namespace warren::rt

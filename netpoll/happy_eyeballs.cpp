// Each attempt is a goroutine; the one that dials waits for an event: an attempt has ended, the stop came, or it is time for the next.
//
// What they share outlives the dial (a loser may still be about to close its socket), hence a shared_ptr. An attempt shows its descriptor
// there while it connects, so that whoever ends the race can end the attempt: by a deadline that has passed, which a goroutine that is
// parked, about to park or about to begin honours alike. A descriptor is taken off the list, under the lock, before it is released.
// A single address needs no goroutine: the attempt runs in place, and only the stop has to reach it.
#include "netpoll/happy_eyeballs.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>

#include "netpoll/event.h"
#include "netpoll/socket.h"
#include "runtime/os/clock.h"
#include "runtime/os/mutex.h"
#include "warren/go.h"

namespace warren::rt {

namespace {

// RFC 8305 section 5: never less than 10 ms, for a flood of connects helps nobody.
constexpr int64_t kShortestAttemptDelay = 10'000'000;
constexpr size_t kErrorsNamed = 8;  // in the line; the rest is counted

struct race {
  enum class phase : uint8_t { waiting, running, failed };
  struct attempt {
    tcp_endpoint peer;
    phase now = phase::waiting;
    fd* connecting = nullptr;
    asio::error_code error;
  };

  explicit race(const std::vector<tcp_endpoint>& order) {
    for (const tcp_endpoint& e : order) attempts.emplace_back().peer = e;
  }

  mutex lock;
  event changed;
  // Guarded by lock.
  std::vector<attempt> attempts;
  bool over = false;     // somebody has won, or the dial was given up: attempts end
  bool stopped = false;  // … by the stop
  tcp_conn winner;
  bool won = false;

  void end_all(bool by_stop) noexcept {
    {
      std::lock_guard held(lock);
      over = true;
      stopped = stopped || by_stop;
      for (const attempt& a : attempts)
        if (a.connecting != nullptr) a.connecting->set_deadline(1, kWriteSide);
    }
    changed.set();
  }
};

// One connect(2). *met_itself: see below.
tcp_conn connect_once(race& r, size_t i, int64_t deadline, asio::error_code& ec, bool* met_itself) {
  const tcp_endpoint peer = r.attempts[i].peer;  // constant
  *met_itself = false;
  if (deadline != 0 && nanotime() >= deadline) {
    ec = asio::error::timed_out;
    return {};
  }
  const sys::result s = sys::socket(peer.protocol().family(), SOCK_STREAM, IPPROTO_TCP);
  if (!s.ok()) {
    fd::set(ec, s.error);
    return {};
  }
  const int sock = static_cast<int>(s.value);
  sys::set_option(sock, IPPROTO_TCP, TCP_NODELAY, 1);
  const sys::result c = sys::connect(sock, peer.data(), static_cast<socklen_t>(peer.size()));
  if (!c.ok() && c.error != EINPROGRESS) {
    fd::set(ec, c.error);
    sys::close(sock);
    return {};
  }
  // Registered only now: a socket that has not begun to connect reports a hang-up at once.
  fd* f = fd::open(sock, ec);
  if (f == nullptr) return {};
  tcp_conn conn = conn_maker::conn(f);
  if (c.error == EINPROGRESS) {
    if (deadline != 0) f->set_deadline(deadline, kWriteSide);
    bool late;
    {
      std::lock_guard held(r.lock);
      late = r.over;
      if (!late) r.attempts[i].connecting = f;
    }
    if (late) {
      ec = asio::error::operation_aborted;
      return {};
    }
    f->finish_connect(ec);
    {
      std::lock_guard held(r.lock);
      r.attempts[i].connecting = nullptr;
    }
    if (ec) return {};
    f->set_deadline(0, kWriteSide);
  }
  // TCP's simultaneous open: a dial to a free port of this machine may get that very port as its own and meet itself.
  if (peer.address().is_loopback()) {
    asio::error_code ignored;
    if (conn.local_endpoint(ignored) == peer) {
      *met_itself = true;
      ec = asio::error::connection_refused;
      return {};
    }
  }
  return conn;
}

void run_attempt(race& r, size_t i, int64_t deadline) {
  asio::error_code ec;
  tcp_conn conn;
  for (int tries = 0; tries < 3; ++tries) {
    bool met_itself;
    conn = connect_once(r, i, deadline, ec, &met_itself);
    if (!met_itself) break;
  }
  {
    std::lock_guard held(r.lock);
    race::attempt& a = r.attempts[i];
    a.now = race::phase::failed;
    a.error = ec;
    if (!ec && !r.over) {
      r.over = r.won = true;
      r.winner = std::move(conn);  // was not open: nothing is closed under the lock
    }
  }
  r.changed.set();
  // A connection that came too late is closed here.
}

// "127.0.0.1:80: connection refused, [::1]:80: network is unreachable"
std::string all_errors(const race& r) {
  std::string line;
  for (size_t i = 0; i < r.attempts.size() && i < kErrorsNamed; ++i) {
    if (i > 0) line += ", ";
    line += net_error_line(warren::to_string(r.attempts[i].peer), {}, r.attempts[i].error);
  }
  if (r.attempts.size() > kErrorsNamed) line += " and " + std::to_string(r.attempts.size() - kErrorsNamed) + " addresses more";
  return line;
}

}  // namespace

std::vector<tcp_endpoint> interleave(const std::vector<tcp_endpoint>& addresses) {
  std::vector<tcp_endpoint> by_family[2];
  for (const tcp_endpoint& e : addresses) by_family[e.protocol() != addresses.front().protocol()].push_back(e);
  std::vector<tcp_endpoint> out;
  out.reserve(addresses.size());
  for (size_t i = 0; i < std::max(by_family[0].size(), by_family[1].size()); ++i)
    for (const auto& family : by_family)
      if (i < family.size()) out.push_back(family[i]);
  return out;
}

tcp_conn connect_first(const std::vector<tcp_endpoint>& order, int64_t deadline, int64_t attempt_delay, const std::stop_token& stop,
                       asio::error_code& ec, std::string* details) {
  details->clear();
  if (order.empty()) {
    ec = asio::error::invalid_argument;
    *details = "no address to dial; give at least one";
    return {};
  }
  if (stop.stop_requested()) {
    ec = asio::error::operation_aborted;
    return {};
  }
  const auto r = std::make_shared<race>(order);
  const auto on_stop = [r] { r->end_all(true); };
  std::optional<std::stop_callback<decltype(on_stop)>> stopper;
  if (stop.stop_possible()) stopper.emplace(stop, on_stop);

  if (order.size() == 1) {
    run_attempt(*r, 0, deadline);
  } else {
    attempt_delay = std::max(attempt_delay, kShortestAttemptDelay);
    size_t started = 0;
    int64_t next_at = 0;  // at once
    for (;;) {
      size_t failed = 0;
      bool over;
      {
        std::lock_guard held(r->lock);
        over = r->over;
        for (const race::attempt& a : r->attempts) failed += a.now == race::phase::failed;
      }
      if (over || failed == order.size()) break;
      const int64_t now = nanotime();
      if (started < order.size() && (failed == started || now >= next_at)) {
        const size_t i = started++;
        next_at = now > INT64_MAX - attempt_delay ? INT64_MAX : now + attempt_delay;
        warren::go([r, i, deadline] { run_attempt(*r, i, deadline); });
        continue;
      }
      r->changed.wait(started < order.size() ? next_at : 0);
    }
    r->end_all(false);
  }
  stopper.reset();

  std::lock_guard held(r->lock);
  if (r->won) {
    ec.clear();
    return std::move(r->winner);
  }
  if (r->stopped) {
    ec = asio::error::operation_aborted;
    return {};
  }
  ec = r->attempts.front().error;
  if (order.size() > 1) *details = all_errors(*r);
  return {};
}

}  // namespace warren::rt

// A channel: names, addresses, connections, and the calls that wait for one.
//
// A SUBCHANNEL is a place to connect to, and has one connection at a time: pick_first has one subchannel with all addresses, round_robin
// one for each. Its states are gRPC's: IDLE → CONNECTING → READY; a failed attempt is TRANSIENT_FAILURE until the backoff's pause is over,
// then CONNECTING again; a connection that drains or is lost makes pick_first IDLE until the next call, round_robin CONNECTING at once.
// While it is CONNECTING or in TRANSIENT_FAILURE a goroutine of its own is at work (run), otherwise none is. The channel's state follows
// from its subchannels' (aggregate).
//
// A connection that has been told to go (GOAWAY) leaves its subchannel at once and lives on with its calls; connections_ knows all that
// live.
//
// The RESOLVER is a goroutine that exists while a name is asked for: before the first connection, and after a connection failed or ended
// (the name may stand for other machines now), but not more often than resolution_interval. Addresses that are gone are drained, new ones
// come beside.
//
// One lock, for moments; nothing is asked of a connection under it, except that its shared_ptr is copied. It is taken by owners of
// connections in their callbacks. A call's lock is taken under it (look_again), never the other way.
//
// Every goroutine and every connection counts as a task; close() kills, stops, wakes, and waits until no task is left.
#include <algorithm>
#include <mutex>
#include <stdexcept>
#include <stop_token>
#include <utility>

#include <warren/go.h>
#include <warren/grpc/channel.h>
#include <warren/net.h>
#include <warren/sync.h>

#include "netpoll/resolver.h"
#include "runtime/os/clock.h"
#include "server/client/backoff.h"
#include "server/client/call.h"
#include "server/client/connection.h"
#include "server/client/context_access.h"
#include "server/client/limits.h"
#include "server/client/service_config.h"
#include "server/client/target.h"
#include "server/client/tls.h"
#include "server/http2/block_pool.h"
#include "server/http2/event.h"

namespace warren::grpc {

using client::connection;
using clock = std::chrono::steady_clock;

namespace {
constexpr std::string_view kUserAgent = "grpc-c++-warren/1";

// Of an attempt to connect, until the server's SETTINGS came or it failed.
struct handshake {
  http2::event done;
  bool good = false;  // before done
  std::string why;
};

clock::time_point at(int64_t ns) { return clock::time_point(std::chrono::nanoseconds(ns)); }

int64_t ns_of(std::chrono::milliseconds ms) {
  return ms > std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::nanoseconds::max()) ? INT64_MAX
                                                                                                     : std::chrono::nanoseconds(ms).count();
}

int64_t sum(int64_t a, int64_t b) { return b > INT64_MAX - a ? INT64_MAX : a + b; }
}  // namespace

const char* to_string(connectivity_state s) noexcept {
  switch (s) {
    case connectivity_state::idle: return "IDLE";
    case connectivity_state::connecting: return "CONNECTING";
    case connectivity_state::ready: return "READY";
    case connectivity_state::transient_failure: return "TRANSIENT_FAILURE";
    case connectivity_state::shutdown: return "SHUTDOWN";
  }
  return "UNKNOWN";
}

struct channel::impl final : client::call_host, connection::host, std::enable_shared_from_this<channel::impl> {
  struct subchannel {
    subchannel(int64_t initial_ns, int64_t max_ns) : back(initial_ns, max_ns) {}
    std::vector<std::string> addresses;
    client::backoff back;
    connectivity_state state = connectivity_state::idle;
    bool running = false;                   // a goroutine is in run()
    bool dropped = false;                   // its address is gone
    std::shared_ptr<connection> connected;  // READY's
    std::shared_ptr<handshake> pending;     // CONNECTING's, with
    connection* connecting = nullptr;
    std::shared_ptr<http2::event> wake = std::make_shared<http2::event>();  // ends the pause early
  };
  using sub_ptr = std::shared_ptr<subchannel>;

  // Constant after construction.
  channel_options options;
  client::target target;
  client::service_config config;
  http2::window_limits windows;
  bool round_robin = false;
  std::unique_ptr<asio::ssl::context> tls;
  std::string server_name;
  const std::shared_ptr<http2::block_pool> blocks = std::make_shared<http2::block_pool>();

  mutable warren::mutex mutex;  // guards the following
  bool closed = false;
  int tasks = 0;
  std::vector<sub_ptr> subs;
  std::vector<std::shared_ptr<connection>> connections;      // all that live
  std::vector<std::shared_ptr<warren::stream>> handshaking;  // sockets in a TLS handshake
  size_t turn = 0;                                           // round_robin's next
  bool resolving = false;
  bool resolve_failed = false;  // and there is no address
  int64_t resolved_at = 0;      // 0: never
  std::string error;            // of the last failure
  int64_t keepalive_ns;
  client::call* waiting_first = nullptr;
  client::call* waiting_last = nullptr;
  connectivity_state last_state = connectivity_state::idle;
  std::shared_ptr<http2::event> changed = std::make_shared<http2::event>();
  uint64_t made = 0;
  uint64_t failed = 0;

  std::stop_source stop;
  http2::event ended;  // closed, and no task is left

  impl(std::string_view where, channel_options o) : options(std::move(o)), target(client::parse_target(where)) {
    config = client::parse_service_config(options.service_config);
    const std::string& policy = options.load_balancing.empty() ? config.load_balancing : options.load_balancing;
    if (!policy.empty() && policy != "pick_first" && policy != "round_robin") {
      throw std::invalid_argument("grpc: load_balancing '" + policy + "' is not known; use pick_first or round_robin");
    }
    round_robin = policy == "round_robin";
    if (options.tls) tls = client::make_tls_context(*options.tls);
    server_name = options.tls && !options.tls->server_name.empty() ? options.tls->server_name : target.server_name;
    keepalive_ns = ns_of(options.keepalive_time);
    call_settings.scheme = tls ? "https" : "http";
    call_settings.authority = options.authority.empty() ? target.authority : options.authority;
    call_settings.user_agent = options.user_agent.empty() ? std::string(kUserAgent) : options.user_agent + " " + std::string(kUserAgent);
    call_settings.max_receive_message = options.max_receive_message;
    call_settings.max_send_message = options.max_send_message;
    call_settings.send_buffer = options.send_buffer;
    call_settings.retry_buffer = options.retry_buffer;
    windows = http2::window_limits::of(options.stream_window, options.connection_window, options.max_window, client::kHeldBytes);
    call_settings.stream_window = windows.stream;
    call_settings.retries = options.retries;
    retry_throttle.set(config.throttle.max_tokens, config.throttle.token_ratio);
    if (!target.addresses.empty()) set_addresses(target.addresses);
  }

  // --- state, under the lock ---

  connectivity_state aggregate() const noexcept {
    if (closed) return connectivity_state::shutdown;
    if (subs.empty()) {
      if (resolve_failed) return connectivity_state::transient_failure;
      return resolving ? connectivity_state::connecting : connectivity_state::idle;
    }
    bool idle = true;
    bool connecting = false;
    for (const sub_ptr& s : subs) {
      if (s->state == connectivity_state::ready) return connectivity_state::ready;
      connecting |= s->state == connectivity_state::connecting;
      idle &= s->state == connectivity_state::idle;
    }
    return idle ? connectivity_state::idle : connecting ? connectivity_state::connecting : connectivity_state::transient_failure;
  }

  // Something about connections has changed: who waits looks again.
  void tell() {
    const connectivity_state now = aggregate();
    if (now != last_state) {
      last_state = now;
      std::exchange(changed, std::make_shared<http2::event>())->set();
    }
    for (client::call* c = waiting_first; c != nullptr; c = c->waiting_next) c->look_again();
  }

  template <class F>
  void start_task(F f) {
    tasks++;
    go([self = shared_from_this(), f = std::move(f)]() mutable {
      f();
      self->task_ended();
    });
  }
  void task_ended() {
    bool last;
    {
      std::lock_guard hold(mutex);
      last = --tasks == 0 && closed;
    }
    if (last) ended.set();
  }

  sub_ptr add_subchannel(std::vector<std::string> addresses) {
    auto s = std::make_shared<subchannel>(ns_of(options.initial_backoff), ns_of(options.max_backoff));
    s->addresses = std::move(addresses);
    subs.push_back(s);
    return s;
  }

  void start_connecting(const sub_ptr& s) {
    if (closed || s->dropped || s->state != connectivity_state::idle) return;
    s->state = connectivity_state::connecting;
    if (!std::exchange(s->running, true)) start_task([this, s] { run(s); });
  }

  // Leaves IDLE.
  void begin_connecting() {
    if (closed) return;
    if (subs.empty()) {
      begin_resolving();
    } else {
      for (const sub_ptr& s : subs) start_connecting(s);
    }
  }

  // What is no longer named is drained: appended to gone, for after the lock. New addresses are connected if the channel is not idle.
  void set_addresses(std::vector<std::string> addresses, std::vector<std::shared_ptr<connection>>* gone = nullptr) {
    std::vector<std::string> unique;
    for (std::string& a : addresses) {
      if (std::find(unique.begin(), unique.end(), a) == unique.end()) unique.push_back(std::move(a));
    }
    const auto drop = [&](const sub_ptr& s) {
      s->dropped = true;
      s->wake->set();
      if (s->connected != nullptr && gone != nullptr) gone->push_back(std::exchange(s->connected, nullptr));
    };
    if (!round_robin) {
      if (!subs.empty()) {
        subchannel& s = *subs.front();
        const bool keeps = s.connected == nullptr || std::find(unique.begin(), unique.end(), s.connected->peer()) != unique.end();
        if (keeps) {
          s.addresses = std::move(unique);
          return;
        }
        drop(subs.front());
        subs.clear();
      }
      add_subchannel(std::move(unique));
      return;
    }
    std::vector<sub_ptr> before = std::exchange(subs, {});
    for (std::string& a : unique) {
      const auto it =
          std::find_if(before.begin(), before.end(), [&](const sub_ptr& s) { return s != nullptr && s->addresses.front() == a; });
      if (it != before.end()) {
        subs.push_back(std::exchange(*it, nullptr));
      } else {
        add_subchannel({std::move(a)});
      }
    }
    for (const sub_ptr& s : before) {
      if (s != nullptr) drop(s);
    }
  }

  void begin_resolving() {
    if (closed || target.host.empty() || !target.addresses.empty() || std::exchange(resolving, true)) return;
    start_task([this] { resolve(); });
  }

  // --- goroutines ---

  void resolve() {
    client::backoff back(ns_of(options.initial_backoff), ns_of(options.max_backoff));
    const auto woken = std::make_shared<http2::event>();
    std::stop_callback wake(stop.get_token(), [woken] { woken->set(); });
    for (;;) {
      int64_t due;
      {
        std::lock_guard hold(mutex);
        due = resolved_at == 0 ? 0 : sum(resolved_at, ns_of(options.resolution_interval));
      }
      if (due > rt::nanotime()) woken->wait_until(due);
      const int64_t began = rt::nanotime();
      asio::error_code ec;
      const std::vector<tcp_endpoint> found =
          rt::resolve(target.host, target.port, false, sum(began, ns_of(options.connect_timeout)), stop.get_token(), ec);
      std::vector<std::string> texts;
      texts.reserve(found.size());
      for (const tcp_endpoint& e : found) texts.push_back(warren::to_string(e));
      std::vector<std::shared_ptr<connection>> gone;
      bool again = false;
      {
        std::lock_guard hold(mutex);
        if (closed) {
          resolving = false;
          return;
        }
        if (!texts.empty()) {
          resolving = resolve_failed = false;
          resolved_at = rt::nanotime();
          const bool was_idle = !subs.empty() && aggregate() == connectivity_state::idle;
          set_addresses(std::move(texts), &gone);
          if (!was_idle) begin_connecting();
        } else {
          error = "the name " + target.host + " cannot be resolved: " + (ec ? ec.message() : "it has no address");
          resolve_failed = subs.empty();
          again = resolve_failed;  // with addresses the old ones serve until something else goes wrong
          resolving = again;
          resolved_at = again ? 0 : rt::nanotime();
        }
        tell();
      }
      for (const auto& c : gone) c->drain();
      if (!again) return;
      woken->wait_until(sum(began, back.next(client::scatter(this))));
      std::lock_guard hold(mutex);
      resolve_failed = false;
      tell();
    }
  }

  // Connects s; after failures with pauses, until it is READY or not wanted.
  void run(const sub_ptr& s) {
    for (;;) {
      const int64_t began = rt::nanotime();
      std::string why;
      const bool good = connect(s, sum(began, ns_of(options.connect_timeout)), why);
      int64_t next;
      {
        std::lock_guard hold(mutex);
        if (closed || s->dropped) {
          s->running = false;
          return;
        }
        if (good) {
          s->back.reset();
          if (s->state == connectivity_state::connecting) continue;  // it was lost already, and is wanted again
          s->running = false;
          return;
        }
        failed++;
        error = why;
        s->state = connectivity_state::transient_failure;
        next = sum(began, s->back.next(client::scatter(s.get())));
        begin_resolving();
        tell();
      }
      s->wake->wait_until(next);
      std::lock_guard hold(mutex);
      if (closed || s->dropped) {
        s->running = false;
        return;
      }
      s->state = connectivity_state::connecting;
      tell();
    }
  }

  // One attempt: over all addresses of s, until one has sent its SETTINGS. true: s is READY (or has been).
  bool connect(const sub_ptr& s, int64_t deadline, std::string& why) {
    std::vector<std::string> left;
    {
      std::lock_guard hold(mutex);
      left = s->addresses;
    }
    dial_options how;
    how.deadline = deadline == INT64_MAX ? clock::time_point::max() : at(deadline);
    how.stop = stop.get_token();
    while (!left.empty()) {
      std::unique_ptr<warren::stream> socket;
      std::string address = left.front();
      try {
        if (address.starts_with("unix:")) {
          socket = dial_stream(address, how);
        } else {
          std::vector<tcp_endpoint> peers;
          asio::error_code ec;
          for (const std::string& a : left) {
            if (!a.starts_with("unix:")) peers.push_back(parse_endpoint(a, ec));
          }
          tcp_conn c = dial(peers, how);
          address = warren::to_string(c.remote_endpoint());
          socket = std::make_unique<tcp_conn>(std::move(c));
        }
      } catch (const std::system_error& e) {
        why = e.what();
        return false;
      }
      if (tls != nullptr && !secure(socket, address, how.deadline, why)) {
        // The next one.
      } else if (greet(s, std::move(socket), deadline, why)) {
        return true;
      }
      left.erase(std::remove(left.begin(), left.end(), address), left.end());
      if (stop.stop_requested()) return false;
    }
    return false;
  }

  // The TLS handshake. false: why says what was wrong.
  bool secure(std::unique_ptr<warren::stream>& socket, const std::string& address, clock::time_point deadline, std::string& why) {
    const auto c = std::make_shared<tls_conn>(std::move(socket), *tls);
    {
      std::lock_guard hold(mutex);
      if (closed) return false;
      handshaking.push_back(c);  // so that close() can end it
    }
    asio::error_code ec;
    try {
      c->host_name(server_name);
      c->deadline(deadline);
      c->handshake(tls_conn::client, ec);
      c->deadline(clock::time_point::max());
      if (ec) why = "TLS with " + address + ": " + ec.message();
    } catch (const std::system_error& e) {
      ec = e.code();
      why = "TLS with " + address + ": " + e.what();
    }
    {
      std::lock_guard hold(mutex);
      handshaking.erase(std::remove(handshaking.begin(), handshaking.end(), c), handshaking.end());
      if (closed) return false;  // close() may be closing it at this moment
    }
    if (!ec && c->alpn() != "h2") {
      why = "TLS with " + address + ": the server did not choose h2 by ALPN; is it a gRPC server?";
      return false;
    }
    if (ec) return false;
    socket = std::make_unique<tls_conn>(std::move(*c));
    return true;
  }

  // Preface and SETTINGS.
  bool greet(const sub_ptr& s, std::unique_ptr<warren::stream> socket, int64_t deadline, std::string& why) {
    client::connection_options o;
    o.session.max_header_list = options.max_header_list;
    o.session.max_header_fields = options.max_header_fields;
    o.session.windows = windows;
    o.settings_timeout = std::chrono::nanoseconds(std::max<int64_t>(1, deadline - rt::nanotime()));
    o.write_timeout = options.write_timeout;
    o.keepalive_timeout = options.keepalive_timeout;
    o.keepalive_without_calls = options.keepalive_without_calls;
    const auto shake = std::make_shared<handshake>();
    std::shared_ptr<connection> c;
    {
      std::lock_guard hold(mutex);
      if (closed || s->dropped) {
        why = "the channel was closed";
        return false;
      }
      o.keepalive_time = keepalive_ns == INT64_MAX ? std::chrono::nanoseconds::max() : std::chrono::nanoseconds(keepalive_ns);
      c = std::make_shared<connection>(std::move(socket), shared_from_this(), blocks, o);
      connections.push_back(c);
      tasks++;
      made++;
      s->pending = shake;
      s->connecting = c.get();
    }
    c->start();
    shake->done.wait();
    std::lock_guard hold(mutex);
    s->pending = nullptr;
    s->connecting = nullptr;
    if (!shake->good) why = c->peer() + ": " + shake->why;
    return shake->good;
  }

  // --- connection::host: called by owners of connections ---

  void connection_ready(connection& c) override {
    std::shared_ptr<handshake> shake;
    {
      std::lock_guard hold(mutex);
      for (const sub_ptr& s : subs) {
        if (s->connecting != &c || s->dropped || closed) continue;
        s->connected = c.shared_from_this();
        s->state = connectivity_state::ready;
        shake = s->pending;
        shake->good = true;
        tell();
        break;
      }
    }
    if (shake != nullptr) shake->done.set();
  }

  void connection_draining(connection& c, std::string_view why, bool too_many_pings) override {
    std::lock_guard hold(mutex);
    if (too_many_pings && keepalive_ns < INT64_MAX / client::kPingBackoff) keepalive_ns *= client::kPingBackoff;
    for (const sub_ptr& s : subs) {
      if (s->connected.get() != &c) continue;
      // The owner keeps the connection: this is not the last reference.
      s->connected = nullptr;
      s->state = connectivity_state::idle;
      error = c.peer() + ": " + std::string(why);
      if (round_robin || waiting_first != nullptr) start_connecting(s);
      begin_resolving();
      tell();
      break;
    }
  }

  void connection_ended(connection& c, std::string_view why) override {
    std::shared_ptr<connection> last;
    std::shared_ptr<handshake> shake;
    {
      std::lock_guard hold(mutex);
      for (const sub_ptr& s : subs) {
        if (s->connecting == &c && s->pending != nullptr && !s->pending->good) {
          shake = s->pending;
          shake->why = why;
        }
      }
      const auto it = std::find_if(connections.begin(), connections.end(), [&](const auto& k) { return k.get() == &c; });
      last = std::move(*it);
      connections.erase(it);
    }
    if (shake != nullptr) shake->done.set();
    task_ended();
  }

  // --- client::call_host ---

  picked pick(client::call& c, bool wait_for_ready, std::shared_ptr<connection>& via, status& why) override {
    std::lock_guard hold(mutex);
    if (closed) {
      why = cancelled("the channel was closed");
      return picked::failed;
    }
    begin_connecting();
    for (size_t i = 0; i < subs.size(); i++) {
      const sub_ptr& s = subs[turn++ % subs.size()];
      if (s->state != connectivity_state::ready) continue;
      via = s->connected;
      return picked::connection;
    }
    const connectivity_state now = aggregate();
    if (now != last_state) tell();
    why = unavailable(error.empty() ? "the channel is connecting to " + call_settings.authority : error);
    if (now == connectivity_state::transient_failure && !wait_for_ready) return picked::failed;
    if (!c.waiting) {
      c.waiting = true;
      c.waiting_next = nullptr;
      c.waiting_prev = waiting_last;
      (waiting_last != nullptr ? waiting_last->waiting_next : waiting_first) = &c;
      waiting_last = &c;
    }
    return picked::wait;
  }

  void leave(client::call& c) noexcept override {
    std::lock_guard hold(mutex);
    if (!std::exchange(c.waiting, false)) return;
    (c.waiting_prev != nullptr ? c.waiting_prev->waiting_next : waiting_first) = c.waiting_next;
    (c.waiting_next != nullptr ? c.waiting_next->waiting_prev : waiting_last) = c.waiting_prev;
  }

  // --- for channel ---

  void close() {
    std::vector<std::shared_ptr<connection>> kill;
    std::vector<std::shared_ptr<warren::stream>> cut;
    bool none;
    {
      std::lock_guard hold(mutex);
      none = !std::exchange(closed, true) && tasks == 0;
      kill = connections;
      cut = handshaking;
      for (const sub_ptr& s : subs) {
        s->wake->set();
        s->connected = nullptr;
      }
      tell();
    }
    if (none) ended.set();
    for (const auto& c : kill) c->kill();
    for (const auto& s : cut) s->close();
    stop.request_stop();
    ended.wait();
  }

  struct step final : client_interceptor::next {
    impl* self;
    size_t index;
    step(impl* s, size_t i) : self(s), index(i) {}
    call_ptr operator()(client_context& ctx, const method_info& method) const override {
      if (index < self->options.interceptors.size())
        return self->options.interceptors[index]->intercept(ctx, method, step(self, index + 1));
      return self->make_call(ctx, method);
    }
  };

  call_ptr make_call(client_context& ctx, const method_info& method) {
    using access = detail::client_context_access;
    const client::method_config* const cfg = config.find(method.path);
    const warren::context parent = access::parent(ctx);
    clock::time_point deadline = access::deadline(ctx);
    if (const auto d = parent.deadline()) deadline = std::min(deadline, *d);
    if (cfg != nullptr && cfg->timeout_ns) deadline = std::min(deadline, at(sum(rt::nanotime(), *cfg->timeout_ns)));

    metadata sent = ctx.metadata();
    const std::shared_ptr<call_credentials>& own = access::credentials(ctx);
    if (call_credentials* const credentials = own != nullptr ? own.get() : options.credentials.get()) {
      if (tls == nullptr && !credentials->plain_text_allowed()) {
        return failed_call(unauthenticated("credentials do not travel in plain text; give the channel client_tls_options"));
      }
      const std::string url = "https://" + call_settings.authority + std::string(method.path.substr(0, method.path.rfind('/')));
      if (status s = credentials->add(parent, url, method.path, sent); !s.ok()) return failed_call(std::move(s));
    }
    bool wait = cfg != nullptr && cfg->wait_for_ready.value_or(false);
    if (const auto w = access::wait_for_ready(ctx)) wait = *w;
    const int64_t deadline_ns = deadline == clock::time_point::max() ? 0 : warren::detail::deadline_ns(deadline);
    auto* const c = new client::call(shared_from_this(), method, cfg, parent, deadline_ns, wait, access::compression(ctx), std::move(sent));
    access::use(ctx, *c);
    return call_ptr(c);
  }
};

channel::channel(std::string_view target, channel_options options) : impl_(std::make_shared<impl>(target, std::move(options))) {}

channel::~channel() { close(); }

void channel::close() { impl_->close(); }

connectivity_state channel::state() const {
  std::lock_guard hold(impl_->mutex);
  return impl_->aggregate();
}

void channel::connect() {
  std::lock_guard hold(impl_->mutex);
  impl_->begin_connecting();
  impl_->tell();
}

bool channel::wait_for_state_change(connectivity_state from, const warren::context& ctx) {
  for (;;) {
    std::shared_ptr<http2::event> changed;
    {
      std::lock_guard hold(impl_->mutex);
      if (impl_->aggregate() != from) return true;
      if (impl_->last_state != from) impl_->tell();
      changed = impl_->changed;
    }
    if (ctx.err()) return false;
    if (ctx == background()) {
      changed->wait();
      continue;
    }
    const context_hook hook = after_func(ctx, [changed] { changed->set(); });
    changed->wait();
    hook.stop();
  }
}

bool channel::wait_ready(const warren::context& ctx) {
  for (;;) {
    connect();
    const connectivity_state now = state();
    if (now == connectivity_state::ready) return true;
    if (now == connectivity_state::shutdown || !wait_for_state_change(now, ctx)) return false;
  }
}

channel_counters channel::counters() const {
  const auto read = [](const std::atomic<uint64_t>& c) { return c.load(std::memory_order_relaxed); };
  channel_counters out;
  const client::call_host::counts& n = impl_->call_counts;
  out.calls = read(n.calls);
  out.attempts = read(n.attempts);
  out.transparent_retries = read(n.transparent);
  out.retries = read(n.retries);
  out.hedges = read(n.hedges);
  out.throttled = read(n.throttled);
  std::lock_guard hold(impl_->mutex);
  out.connections = impl_->made;
  out.connect_failures = impl_->failed;
  return out;
}

call_ptr channel::start(client_context& ctx, const method_info& method) { return impl::step(impl_.get(), 0)(ctx, method); }

}  // namespace warren::grpc

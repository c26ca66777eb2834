// native: the transport of warren's own. A listener, a goroutine that accepts, and a connection (http2/connection.h) for each client.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <climits>
#include <mutex>
#include <stdexcept>
#include <utility>
#include <vector>

#include <warren/go.h>
#include <warren/grpc/server.h>
#include <warren/net.h>
#include <warren/unix.h>

#include "runtime/os/clock.h"
#include "runtime/os/mutex.h"
#include "server/grpc/call.h"
#include "server/grpc/core.h"
#include "server/grpc/handshakes.h"
#include "server/grpc/tls_credentials.h"
#include "server/grpc/transport.h"
#include "server/http2/block_pool.h"
#include "server/http2/connection.h"
#include "server/http2/event.h"
#include "server/http2/limits.h"

namespace warren::grpc {

namespace {

// Accepts, makes connections of what it accepts, and ends them.
struct native final : transport, http2::connection::host, std::enable_shared_from_this<native> {
  const std::shared_ptr<core> kept;
  core& shared;
  http2::connection_options connection_options;
  http2::transport_counters counted;
  http2::block_pool block_pool;
  http2::spare_pool spare_pool;
  std::unique_ptr<stream_listener> listener;
  std::string address;
  // With TLS only; made by start().
  std::unique_ptr<tls_credentials> credentials;
  std::unique_ptr<handshakes> hands;
  uint32_t greeting = 0;  // connections that are no connections yet; guarded by mutex, as the next two
  uint32_t greeters = 0;  // goroutines of theirs
  bool greeters_awaited = false;
  http2::event no_greeter;
  http2::event stop_watching;
  http2::event watching_ended;

  mutable rt::mutex mutex;                      // guards the following
  bool accepting = true;                        // a connection may still be added
  std::vector<http2::connection*> connections;  // each with the reference it was made with
  uint64_t accepted = 0;
  uint64_t accept_errors = 0;
  uint64_t refused = 0;

  http2::event accepting_ended;
  http2::event idle;  // no connection is left, and none will come

  explicit native(std::shared_ptr<core> of) : kept(std::move(of)), shared(*kept) {
    const server_options& options = shared.options;
    connection_options.session.max_concurrent_streams = options.max_concurrent_streams;
    connection_options.session.max_header_list = options.max_header_list;
    connection_options.session.max_header_fields = options.max_header_fields;
    connection_options.session.windows =
        http2::window_limits::of(options.stream_window, options.connection_window, options.max_window, options.max_buffered_requests);
    connection_options.preface_timeout = options.preface_timeout;
    connection_options.write_timeout = options.write_timeout;
    auto tick = options.write_timeout;
    if (options.request_timeout.count() != 0) tick = std::min(tick, options.request_timeout);
    connection_options.stream_tick = std::chrono::nanoseconds(tick) / 2;
    connection_options.keepalive_time = options.keepalive_time;
    connection_options.keepalive_timeout = options.keepalive_timeout;
    connection_options.max_idle = options.max_connection_idle;
    connection_options.max_age = options.max_connection_age;
    connection_options.max_age_grace = options.max_connection_age_grace;
    connection_options.session.ping_interval_ns = std::chrono::nanoseconds(options.min_ping_interval).count();
    connection_options.session.idle_pings = options.permit_idle_pings;
  }
  ~native() override { drop_spares(); }

  // --- http2::connection::host ---
  http2::stream* make_stream() override { return new call(shared); }
  void destroy_stream(http2::stream* s) override { delete static_cast<call*>(s); }
  http2::transport_counters& counters() override { return counted; }
  http2::block_pool& blocks() override { return block_pool; }
  http2::spare_pool& spares() override { return spare_pool; }
  http2::alarms& clock() override { return shared.alarms; }
  void connection_ended(http2::connection& c) override {
    // Whoever waits for idle may let go of the server at once; set() must not be inside freed memory then.
    const std::shared_ptr<native> self = shared_from_this();
    bool last;
    {
      std::lock_guard hold(mutex);
      // Order means nothing: the last takes the place.
      for (auto& slot : connections) {
        if (slot != &c) continue;
        slot = connections.back();
        connections.pop_back();
        break;
      }
      last = !accepting && connections.empty();
    }
    c.unpin();
    if (last) idle.set();
  }

  void drop_spares() noexcept {
    while (http2::spare* const s = spare_pool.take()) http2::connection::destroy(s, *this);
  }

  // Counts handshakes too: they hold a descriptor as connections do.
  bool full() const noexcept {
    const uint32_t most = shared.options.max_connections;
    return most != 0 && connections.size() + greeting >= most;
  }

  void accept_loop() {
    for (;;) {
      asio::error_code ec;
      std::unique_ptr<warren::stream> socket = listener->accept_stream(ec);
      if (ec == asio::error::operation_aborted || ec == asio::error::bad_descriptor) break;
      std::unique_lock hold(mutex);
      if (ec) {
        accept_errors++;
        continue;  // accept has paused already if descriptors ran out
      }
      if (full()) {
        refused++;
        continue;  // socket closes
      }
      const auto ordinal = static_cast<unsigned>(accepted++);
      if (hands != nullptr) {
        greeting++;
        greeters++;
      }
      hold.unlock();
      if (hands == nullptr) {
        begin(std::move(socket), nullptr, ordinal);
      } else {
        go([self = shared_from_this(), socket = std::move(socket), ordinal]() mutable { self->shake_hands(std::move(socket), ordinal); });
      }
      if (ordinal % kAcceptsAtOnce == kAcceptsAtOnce - 1) sleep(kAcceptPause);
    }
    accepting_ended.set();
  }

  void shake_hands(std::unique_ptr<warren::stream> socket, unsigned ordinal) {
    auto info = std::make_unique<tls_info>();
    std::unique_ptr<warren::stream> secure;
    try {
      secure = hands->run(std::move(socket), *info);
    } catch (const std::exception&) {
      hands->failed.fetch_add(1, std::memory_order_relaxed);  // no memory: this one's end, not the process's
    }
    const bool agreed = secure != nullptr;
    if (agreed) begin(std::move(secure), std::move(info), ordinal);
    std::lock_guard hold(mutex);
    if (!agreed) greeting--;
    // Only now: shutdown() tells connections to go, and one that is in the list must have started by then.
    if (--greeters == 0 && greeters_awaited) no_greeter.set();
  }

  void begin(std::unique_ptr<warren::stream> socket, std::unique_ptr<const tls_info> tls, unsigned ordinal) {
    http2::peer_facts peer;
    peer.address = socket->peer_name();
    if (peer.address.empty()) peer.address = "unknown";
    peer.tls = std::move(tls);
    if (auto* const local = dynamic_cast<unix_conn*>(socket.get())) {
      asio::error_code ec;
      const peer_credentials who = local->credentials(ec);
      if (!ec) peer.process = who;
    }
    auto* c = new http2::connection(std::move(socket), std::move(peer), *this, connection_options, ordinal);
    {
      std::lock_guard hold(mutex);
      connections.push_back(c);
      if (c->peer().tls != nullptr) greeting--;
    }
    c->start();
  }

  void watch_files() {
    const int64_t interval = std::chrono::nanoseconds(shared.options.tls.reload_interval).count();
    while (!stop_watching.wait_until(rt::nanotime() + interval)) {
      std::string wrong;
      try {
        if (!credentials->reload_if_changed()) continue;
      } catch (const tls_error& e) {
        // Tried again when a file changes. Renewing replaces one file after the other, so this happens in good order too.
        wrong = e.what();
      }
      if (shared.options.tls.on_reload) shared.options.tls.on_reload(wrong);
    }
    watching_ended.set();
  }

  void tell_all(uint32_t bits) {
    std::vector<http2::connection*> pinned;
    {
      std::lock_guard hold(mutex);
      pinned = connections;
      for (http2::connection* c : pinned) c->pin();
    }
    for (http2::connection* c : pinned) {
      c->control(bits);
      c->unpin();
    }
  }

  void shutdown(std::chrono::nanoseconds grace) override {
    const int64_t begin = rt::nanotime();
    const int64_t end = grace.count() > INT64_MAX - begin ? INT64_MAX : begin + std::max<int64_t>(grace.count(), 0);
    listener->close();
    accepting_ended.wait();
    if (hands != nullptr) {
      hands->stop();
      {
        std::lock_guard hold(mutex);
        greeters_awaited = true;
        if (greeters == 0) no_greeter.set();
      }
      no_greeter.wait();
      stop_watching.set();
      watching_ended.wait();
    }
    bool none;
    {
      // Only now: a connection that ended before could have been the last, while the accept loop was about to start another.
      std::lock_guard hold(mutex);
      accepting = false;
      none = connections.empty();
    }
    if (none) idle.set();
    tell_all(http2::connection::kBeginDrain);
    if (!idle.wait_until(end)) {
      tell_all(http2::connection::kKill);
      idle.wait();
    }
    shared.alarms.stop();
    drop_spares();  // what calls hold on the collected heap must not outlive the run
    shared.methods.drop_places();
  }

  void start() override {
    const server_options& options = shared.options;
    if (options.tls.enabled()) {
      credentials = std::make_unique<tls_credentials>(options.tls);
      hands = std::make_unique<handshakes>(*credentials, options.tls);
    }
    if (!options.reuse_port) {
      listener = listen_stream(options.listen);
    } else if (options.listen.starts_with("unix:")) {
      throw net_error(asio::error::invalid_argument,
                      "listen " + options.listen + ": unix sockets have no SO_REUSEPORT; leave reuse_port off");
    } else {
      listener = std::make_unique<tcp_listener>(listen(options.listen, {.reuse_port = true}));
    }
    address = listener->address();
#ifdef TCP_USER_TIMEOUT
    // A peer that vanished without a word, while something of ours is on its way to it, is given up by the kernel after this, instead of a
    // quarter of an hour. Connections inherit it from the socket that accepts them. Not on unix sockets; there it fails, and nothing is
    // lost. (It also ends a peer that lets nothing in, which is write_timeout's business: never sooner than that.)
    const int64_t silence = std::max(options.keepalive_timeout.count(), options.write_timeout.count());
    if (auto* const tcp = dynamic_cast<tcp_listener*>(listener.get()); tcp != nullptr && silence > 0) {
      const auto ms = static_cast<unsigned>(std::min<int64_t>(silence, INT_MAX));
      setsockopt(tcp->native_handle(), IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
    }
#endif
    shared.alarms.start(shared_from_this());
    if (credentials != nullptr) {
      if (options.tls.reload_interval.count() > 0) {
        go([self = shared_from_this()] { self->watch_files(); });
      } else {
        watching_ended.set();
      }
    }
    go([self = shared_from_this()] { self->accept_loop(); });
  }

  std::string where() const override { return address; }

  void reload_tls() override {
    if (credentials == nullptr) throw std::logic_error("grpc: reload_tls without TLS; start the server with tls.certificate and tls.key");
    credentials->reload();
  }

  std::vector<connection_info> list(uint64_t first_id, size_t most) const override {
    std::vector<http2::connection*> open;
    {
      std::lock_guard hold(mutex);
      for (http2::connection* c : connections) {
        if (uint64_t{c->ordinal()} + 1 < first_id) continue;
        c->pin();
        open.push_back(c);
      }
    }
    std::sort(open.begin(), open.end(), [](const auto* a, const auto* b) { return a->ordinal() < b->ordinal(); });
    const int64_t now_ns = rt::nanotime();
    const auto now = std::chrono::system_clock::now();
    const auto wall = [&](int64_t ns) {
      return now - std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::nanoseconds(now_ns - ns));
    };
    const auto read = [](const std::atomic<uint64_t>& c) { return c.load(std::memory_order_relaxed); };
    std::vector<connection_info> out;
    for (http2::connection* c : open) {
      if (out.size() < most) {
        const http2::connection_counts& n = c->counts();
        connection_info& i = out.emplace_back();
        i.id = uint64_t{c->ordinal()} + 1;
        i.peer = c->peer().address;
        i.local = address;
        i.tls = c->peer().tls;
        i.accepted = wall(c->accepted_ns());
        i.streams_started = read(n.streams_started);
        i.streams_succeeded = read(n.streams_succeeded);
        i.streams_failed = read(n.streams_failed);
        i.messages_received = read(n.messages_received);
        i.messages_sent = read(n.messages_sent);
        i.keepalives_sent = read(n.keepalives_sent);
        i.window = n.window.load(std::memory_order_relaxed);
        if (const int64_t last = n.last_stream_ns.load(std::memory_order_relaxed); last != 0) i.last_stream = wall(last);
      }
      c->unpin();
    }
    return out;
  }

  void count(server_counters& out) const override {
    const auto read = [](const std::atomic<uint64_t>& c) { return c.load(std::memory_order_relaxed); };
    {
      std::lock_guard hold(mutex);
      out.connections_accepted = accepted;
      out.connections_open = connections.size();
      out.accept_errors = accept_errors;
      out.connections_refused = refused;
    }
    out.streams_refused = read(counted.streams_refused);
    out.connections_not_http2 = read(counted.not_http2);
    out.connections_abused = read(counted.abused);
    out.connections_protocol_error = read(counted.protocol_errors);
    out.connections_stalled = read(counted.stalled);
    out.streams_stalled = read(counted.streams_stalled);
    out.connections_dead = read(counted.keepalive_failed);
    out.connections_aged = read(counted.aged);
    out.connections_idle = read(counted.idled);
    out.windows_grown = read(counted.windows_grown);
    if (const handshakes* h = hands.get()) {
      out.tls_handshakes = read(h->done);
      out.tls_handshakes_failed = read(h->failed);
      out.tls_handshakes_timed_out = read(h->timed_out);
      out.tls_handshakes_evicted = read(h->evicted);
      out.tls_handshakes_not_h2 = read(h->not_h2);
      out.tls_handshakes_open = h->under_way();
      out.tls_reloads = credentials->reloads();
      out.tls_reload_failures = credentials->reload_failures();
      out.tls_certificate_expires = credentials->expires();
    }
    out.bytes_received = read(counted.bytes_received);
    out.bytes_sent = read(counted.bytes_sent);
    out.reads = read(counted.reads);
    out.writes = read(counted.writes);
  }
};

}  // namespace

std::shared_ptr<transport> make_native(std::shared_ptr<core> of) { return std::make_shared<native>(std::move(of)); }

}  // namespace warren::grpc

// The transport that gRPC C++'s own server is: how it is configured, started, drained and stopped.
//
// Threads. gRPC has its own: two or more poll for the callback API (half as many as processors, 2 to 16), others run timers, DNS and what
// it defers. All of them have every signal blocked, so that signals go to the threads that expect them. The runtime's share is one
// goroutine (the desk) and one for each call.
//
// Starting and stopping run on a thread of their own, joined in a blocking region: gRPC takes as much stack for these as it likes, and
// Shutdown() waits on a condition variable until every call is done.
//
// Stopping. Shutdown(deadline) closes the port, sends GOAWAY and waits. When the grace is over the desk answers what is left with
// UNAVAILABLE and ends its contexts; what then cannot be sent within kLastWords is cut off by gRPC, since that is the deadline it was
// given. Handlers that ignore their context are waited for afterwards.
//
// Listening. gRPC says of a port it could not get only that it could not. So the address is tried first by our own listener, which throws
// the line that the native transport would throw, and which knows how addresses are written; it is closed again and gRPC binds the same. In
// between somebody else may take the port; that has its own line.
//
// TLS. The files are read by gRPC's file watcher, and beside it by tls_credentials, which tells what is wrong with them in the words of the
// native transport, at the start and at each change. The watcher looks every second, the least it can.
#include "server/grpc/transport.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <signal.h>

#include <algorithm>
#include <climits>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <warren/go.h>
#include <warren/grpcpp/transport.h>
#include <warren/net.h>

#include "netpoll/event.h"
#include "runtime/os/clock.h"
#include "server/grpc/refusals.h"
#include "server/grpc/tls_credentials.h"
#include "server/grpcpp/call.h"
#include "server/grpcpp/calls.h"

namespace warren::grpcpp {

namespace {

// What was answered when the grace was over may take so long to leave.
constexpr std::chrono::seconds kLastWords(1);
// A grace above this is as good as none, and can be added to any clock.
constexpr std::chrono::hours kLongestGrace(24 * 365);
constexpr unsigned kWatchSeconds = 1;

// Runs f on a thread with every signal blocked; parks until it is done. Threads that gRPC starts from there inherit that.
template <class F>
void on_plain_thread(F f) {
  std::exception_ptr thrown;
  blocking([&] {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      std::thread([&] {
        try {
          f();
        } catch (...) {
          thrown = std::current_exception();
        }
      }).join();
    } catch (...) {
      thrown = std::current_exception();
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  });
  if (thrown) std::rethrow_exception(thrown);
}

int clamped(int64_t n) { return static_cast<int>(std::clamp<int64_t>(n, 0, INT_MAX)); }
int clamped(std::chrono::milliseconds d) { return clamped(d.count()); }

// Answers a call of a method that was not added.
class no_such_method final : public ::grpc::ServerGenericBidiReactor {
 public:
  explicit no_such_method(std::string_view path) { Finish({::grpc::StatusCode::UNIMPLEMENTED, grpc::no_such_method(path.substr(0, 256))}); }
  void OnDone() override { delete this; }
};

class carrier final : public grpc::transport, private ::grpc::CallbackGenericService, public std::enable_shared_from_this<carrier> {
 public:
  explicit carrier(std::shared_ptr<grpc::core> of) : calls_(std::move(of)) {}

  void start() override {
    const grpc::server_options& o = calls_.shared.options;
    if (o.max_connections != 0) {
      throw std::logic_error("grpc: max_connections " + std::to_string(o.max_connections) +
                             ": gRPC C++'s server has no such limit; leave it 0, or use the native transport");
    }
    if (o.tls.enabled()) credentials_ = std::make_unique<grpc::tls_credentials>(o.tls);
    const std::string address = probe(o);
    int port = 0;
    ::grpc::ServerBuilder builder;
    configure(builder, o);
    builder.AddListeningPort(uri_of(address), transport_security(o.tls), &port);
    builder.RegisterCallbackGenericService(this);
    on_plain_thread([&] { server_ = builder.BuildAndStart(); });
    if (server_ == nullptr) {
      throw net_error(asio::error::address_in_use,
                      "listen " + o.listen + ": gRPC C++ could not bind it, although it was free a moment ago; try again");
    }
    calls_.news.start(shared_from_this());  // a call that came before waits at the desk
    address_ = address.starts_with("unix:") ? address : address.substr(0, address.rfind(':') + 1) + std::to_string(port);
    if (credentials_ != nullptr && o.tls.reload_interval.count() > 0) {
      go([self = shared_from_this()] { self->watch_files(); });
    } else {
      watching_ended_.set();
    }
  }

  std::string where() const override { return address_; }

  void reload_tls() override {
    if (credentials_ == nullptr) throw std::logic_error("grpc: reload_tls without TLS; start the server with tls.certificate and tls.key");
    credentials_->reload();
  }

  void shutdown(std::chrono::nanoseconds grace) override {
    stop_watching_.set();
    watching_ended_.wait(0);
    grace = std::clamp<std::chrono::nanoseconds>(grace, std::chrono::nanoseconds(0), kLongestGrace);
    const int64_t end = std::max<int64_t>(1, rt::nanotime() + grace.count());
    const auto last =
        std::chrono::system_clock::now() + std::chrono::duration_cast<std::chrono::system_clock::duration>(grace) + kLastWords;
    go([self = shared_from_this(), last] {
      on_plain_thread([&] {
        self->server_->Shutdown(last);
        self->server_.reset();
      });
      self->drained_.set();
    });
    if (!drained_.wait(end, true)) {
      calls_.kill();
      drained_.wait(0, true);
    }
    calls_.wait_for_none();
    calls_.news.stop();
  }

  std::vector<grpc::connection_info> list(uint64_t, size_t) const override { return {}; }

  void count(grpc::server_counters& into) const override {
    if (credentials_ == nullptr) return;
    into.tls_reloads = credentials_->reloads();
    into.tls_reload_failures = credentials_->reload_failures();
    into.tls_certificate_expires = credentials_->expires();
  }

 private:
  ::grpc::ServerGenericBidiReactor* CreateReactor(::grpc::GenericCallbackServerContext* context) override {
    const grpc::method* const m = calls_.shared.methods.find(context->method());
    if (m == nullptr) {
      calls_.shared.unknown_method.fetch_add(1, std::memory_order_relaxed);
      return new no_such_method(context->method());
    }
    auto* const c = new call(calls_, *context, *m);
    const bool killed = !calls_.add(*c);
    calls_.news.post(*c, killed ? call::kBegun | call::kKilled : uint32_t{call::kBegun});
    return c;
  }

  // The address as it will be, with port 0 if any is good. Throws net_error.
  static std::string probe(const grpc::server_options& o) {
    if (o.reuse_port) {
      if (o.listen.starts_with("unix:")) {
        throw net_error(asio::error::invalid_argument, "listen " + o.listen + ": unix sockets have no SO_REUSEPORT; leave reuse_port off");
      }
      return any_port(listen(o.listen, {.reuse_port = true}).address(), o.listen);
    }
    const auto ours = listen_stream(o.listen);
    return any_port(ours->address(), o.listen);
  }
  static std::string any_port(const std::string& bound, const std::string& asked) {
    if (bound.starts_with("unix:") || !asked.ends_with(":0")) return bound;
    return bound.substr(0, bound.rfind(':')) + ":0";
  }
  static std::string uri_of(const std::string& address) {
    if (address.starts_with("unix:@")) return "unix-abstract:" + address.substr(6);
    return address;
  }

  static std::shared_ptr<::grpc::ServerCredentials> transport_security(const grpc::tls_options& tls) {
    if (!tls.enabled()) return ::grpc::InsecureServerCredentials();
    namespace x = ::grpc::experimental;
    x::TlsServerCredentialsOptions options(
        std::make_shared<x::FileWatcherCertificateProvider>(tls.key, tls.certificate, tls.client_ca, kWatchSeconds));
    options.watch_identity_key_cert_pairs();
    if (!tls.client_ca.empty()) {
      options.watch_root_certs();
      options.set_cert_request_type(tls.require_client_certificate ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                                                   : GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
    }
    return x::TlsServerCredentials(options);
  }

  static void configure(::grpc::ServerBuilder& b, const grpc::server_options& o) {
    b.SetMaxReceiveMessageSize(clamped(static_cast<int64_t>(std::min<size_t>(o.max_receive_message, INT_MAX))));
    b.SetMaxSendMessageSize(-1);  // ours is looked at before
    b.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
    b.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, o.reuse_port ? 1 : 0);
    b.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, clamped(o.max_concurrent_streams));
    b.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, clamped(static_cast<int64_t>(o.max_header_list)));
    const auto greeting = o.preface_timeout + (o.tls.enabled() ? o.tls.handshake_timeout : std::chrono::milliseconds(0));
    if (greeting.count() != 0) b.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, clamped(greeting));
    if (o.keepalive_time.count() != 0) b.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, clamped(o.keepalive_time));
    b.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, clamped(o.keepalive_timeout));
    b.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, clamped(o.min_ping_interval));
    b.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, o.permit_idle_pings ? 1 : 0);
    if (o.max_connection_idle.count() != 0) b.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, clamped(o.max_connection_idle));
    if (o.max_connection_age.count() != 0) b.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, clamped(o.max_connection_age));
    if (o.max_connection_age_grace.count() != 0) {
      b.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, clamped(o.max_connection_age_grace));
    }
  }

  // gRPC's watcher takes the files by itself; this one tells what it finds wrong, and counts.
  void watch_files() {
    const grpc::tls_options& tls = calls_.shared.options.tls;
    const int64_t interval = std::chrono::nanoseconds(tls.reload_interval).count();
    while (!stop_watching_.wait(rt::nanotime() + interval)) {
      std::string wrong;
      try {
        if (!credentials_->reload_if_changed()) continue;
      } catch (const grpc::tls_error& e) {
        wrong = e.what();
      }
      if (tls.on_reload) tls.on_reload(wrong);
    }
    watching_ended_.set();
  }

  calls calls_;
  std::unique_ptr<grpc::tls_credentials> credentials_;
  std::unique_ptr<::grpc::Server> server_;
  std::string address_;
  rt::event drained_;
  rt::event stop_watching_;
  rt::event watching_ended_;
};

}  // namespace

std::shared_ptr<grpc::transport> transport(std::shared_ptr<grpc::core> of) { return std::make_shared<carrier>(std::move(of)); }

}  // namespace warren::grpcpp

#include "server/host/host.h"

#include <malloc.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>

#include <warren/admin.h>
#include <warren/channelz.h>
#include <warren/go.h>
#include <warren/grpcpp/transport.h>
#include <warren/health.h>
#include <warren/metrics.h>
#include <warren/net.h>
#include <warren/reflection.h>
#include <warren/runtime_service.h>
#include <warren/signal.h>
#include <warren/sync.h>

namespace warren::host {
namespace {

class registration final : public services {
 public:
  registration(grpc::server& s, grpc::health_service& h) : server_(s), health_(h) {}
  void add(grpc::service& s) override {
    server_.add(s);
    health_.set_serving(s.full_name(), true);
  }

 private:
  grpc::server& server_;
  grpc::health_service& health_;
};

// A goroutine that does something at each of these signals, until the end of the scope: what it uses may be gone after that.
class at_signal {
 public:
  template <class F>
  at_signal(std::initializer_list<int> signals, F act) : set_(signals) {
    waits_.go([this, act = std::move(act)] {
      asio::error_code closed;
      for (int signal; (signal = set_.wait(closed)) != 0;) act(signal);
    });
  }
  ~at_signal() {
    set_.close();
    waits_.wait();
  }
  at_signal(const at_signal&) = delete;
  at_signal& operator=(const at_signal&) = delete;

 private:
  signal_set set_;
  wait_group waits_;
};

// 2 if the address itself is wrong, 1 if it cannot be had.
int failed_to_listen(const program& p, const char* flag, const net_error& e) {
  const bool wrong_value = e.code() == asio::error::invalid_argument;
  std::fprintf(stderr, "%s: %s: %s\n", p.name.c_str(), flag, e.what());
  return wrong_value ? 2 : 1;
}

int serve(const program& p, const flags& f, const std::function<void(services&)>& setup) {
  const auto log = std::make_shared<spdlog::logger>(p.name, std::make_shared<spdlog::sinks::stderr_sink_mt>());

  grpc::health_service health;
  grpc::runtime_service runtime;
  grpc::tls_options tls = f.tls;
  tls.on_reload = [log](const std::string& wrong) {
    if (wrong.empty())
      log->info("TLS: the files have changed and are in use");
    else
      log->warn("{}; the files of before stay in use", wrong);
  };
  grpc::server_options options{.listen = f.listen, .reuse_port = f.reuse_port, .tls = tls};
#ifdef WARREN_WITH_GRPCPP
  if (f.transport == transport::grpcpp) options.transport = grpcpp::transport;
#endif
  grpc::server server(options);
  registration registered(server, health);
  registered.add(health);
  registered.add(runtime);
  grpc::reflection_service reflection(server);
  grpc::channelz_service channelz(server);
  if (f.reflection) {
    server.add(reflection.v1());
    server.add(reflection.v1alpha());
  }
  if (f.channelz) server.add(channelz);
  setup(registered);

  admin::server admin;
  admin::metrics metrics;
  metrics.add(admin::runtime_metrics());
  metrics.add(admin::process_metrics());
  metrics.add(admin::grpc_metrics(server));
  metrics.serve(admin);
  admin.handle("/healthz", "200 while the server takes calls, else 503", [&health](const admin::request&) {
    return health.serving("") ? admin::response{.body = "ok\n"} : admin::response{.status = 503, .body = "not serving\n"};
  });

  try {
    server.start();
  } catch (const net_error& e) {
    return failed_to_listen(p, "--listen", e);
  } catch (const grpc::tls_error& e) {
    std::fprintf(stderr, "%s: %s\n", p.name.c_str(), e.what());
    return 2;
  }
  if (!f.admin.empty()) {
    try {
      admin.start(f.admin);
    } catch (const net_error& e) {
      return failed_to_listen(p, "--admin", e);
    }
  }
  health.set_serving("", true);
  std::printf("listening on %s\n", server.address().c_str());
  if (!f.admin.empty()) std::printf("admin on %s\n", admin.address().c_str());
  std::fflush(stdout);

  const at_signal reload({SIGHUP}, [log, &server, with_tls = f.tls.enabled()](int) {
    if (!with_tls) {
      log->info("SIGHUP: there is nothing to read again without --tls-cert");
      return;
    }
    try {
      server.reload_tls();
      log->info("SIGHUP: the TLS files were read again");
    } catch (const grpc::tls_error& e) {
      log->warn("SIGHUP: {}; the files of before stay in use", e.what());
    }
  });

  const int signal = wait_signal({SIGTERM, SIGINT});
  log->info("SIG{}: no new calls; those that run have {} s to finish", sigabbrev_np(signal),
            std::chrono::duration<double>(f.grace).count());
  const at_signal end_at_once({SIGTERM, SIGINT}, [log](int again) {
    log->warn("SIG{} again: ending at once", sigabbrev_np(again));
    log->flush();
    _exit(1);
  });
  health.shutdown();
  runtime.shutdown();
  server.shutdown(f.grace);
  admin.stop();
  log->info("ended in good order");
  return 0;
}

// As shipped, glibc takes each block above 128 KiB from the kernel and gives it back at once, and gives back the top of its heap when 128
// KiB of it are free: messages of that size then cost page faults, more than everything else about the call (bench_grpc 4x1_1m, noisy: 350
// to 430 calls per CPU second with its thresholds, 1030 to 1080 with these). The price is at most kKeptHeap in each of malloc's arenas that
// an idle process keeps. Who sets the variables malloc knows is not overruled.
constexpr int kLargestHeapBlock = 8 << 20;  // twice the default limit of a request
constexpr int kKeptHeap = 32 << 20;

void keep_freed_memory() {
#ifdef __GLIBC__
  if (std::getenv("MALLOC_TRIM_THRESHOLD_") == nullptr && std::getenv("MALLOC_MMAP_THRESHOLD_") == nullptr &&
      std::getenv("GLIBC_TUNABLES") == nullptr) {
    mallopt(M_MMAP_THRESHOLD, kLargestHeapBlock);
    mallopt(M_TRIM_THRESHOLD, kKeptHeap);
  }
#endif
}

}  // namespace

int main_of(const program& p, int argc, char** argv, const std::function<void(services&)>& setup) {
  const auto parsed = parse_flags(p, argc, argv);
  if (const auto* leave = std::get_if<exit_now>(&parsed)) return leave->status;
  const flags& f = std::get<flags>(parsed);
  block_signals({SIGTERM, SIGINT, SIGHUP});
  keep_freed_memory();
  return run([&] { return serve(p, f, setup); });
}

}  // namespace warren::host

// What receive windows make of a path with a round trip: a channel, a server, and between them a proxy that holds back every byte for half
// of one, in one process. Fixed windows of 1 MiB and 4 MiB against those that grow.
//
//   bench_path [round trip in ms, default 100]
//
// The figures are bounded by windows and round trips, not by the processor; they say little about a faster or slower machine.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include <warren/cond.h>
#include <warren/go.h>
#include <warren/net.h>
#include <warren/sync.h>

#include "tests/server/client/text_stub.h"

namespace {

using namespace warren;
using namespace warren::testing;
using clock_type = std::chrono::steady_clock;

// One direction: what is read is written `delay` later. As a long path holds what is on its way, so does the queue.
struct pipe {
  struct piece {
    clock_type::time_point due;
    std::string bytes;
  };
  tcp_conn& from;
  tcp_conn& to;
  std::chrono::nanoseconds delay;
  warren::mutex lock{};
  cond filled{};
  std::deque<piece> queue{};
  bool ended = false;

  void read() {
    std::string block(64 << 10, '\0');
    for (;;) {
      asio::error_code ec;
      const size_t n = from.read_some(asio::buffer(block), ec);
      lock_guard hold(lock);
      if (ec) ended = true;
      if (!ec) queue.push_back({clock_type::now() + delay, block.substr(0, n)});
      filled.signal();
      if (ec) return;
    }
  }
  void write() {
    asio::error_code ec;
    for (;;) {
      piece next;
      {
        std::unique_lock<warren::mutex> hold(lock);
        filled.wait(hold, [&] { return ended || !queue.empty(); });
        if (queue.empty()) break;
        next = std::move(queue.front());
        queue.pop_front();
      }
      if (const auto left = next.due - clock_type::now(); left.count() > 0) sleep(left);
      to.write(asio::buffer(next.bytes), ec);
    }
    to.shutdown(asio::socket_base::shutdown_send, ec);
  }
};

// One connection.
void carry(tcp_conn client, const std::string& server, std::chrono::nanoseconds delay) {
  tcp_conn onward = dial(server);
  client.no_delay(true);
  onward.no_delay(true);
  pipe forth{client, onward, delay};
  pipe back{onward, client, delay};
  wait_group all;
  for (pipe* p : {&forth, &back}) {
    all.go([p] { p->read(); });
    all.go([p] { p->write(); });
  }
  all.wait();
}

template <class F>
double seconds(F f) {
  const auto begin = clock_type::now();
  f();
  return std::chrono::duration<double>(clock_type::now() - begin).count();
}

void check(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "bench_path: %s failed\n", what);
  std::exit(1);
}

void measure(bool adaptive, int round_trip_ms) {
  constexpr size_t kMiB = 1 << 20;
  grpc::server_options so;
  grpc::channel_options co;
  so.listen = "127.0.0.1:0";
  if (!adaptive) {
    so.stream_window = co.stream_window = kMiB;
    so.connection_window = co.connection_window = 4 * kMiB;
  }
  text_service service;
  grpc::server server(so);
  server.add(service);
  server.start();
  tcp_listener listener = listen("127.0.0.1:0");
  wait_group proxies;
  proxies.go([&] {
    for (;;) {
      asio::error_code ec;
      auto accepted = std::make_shared<tcp_conn>(listener.accept(ec));
      if (ec) return;
      proxies.go([&, accepted] { carry(std::move(*accepted), server.address(), std::chrono::milliseconds(round_trip_ms) / 2); });
    }
  });
  {
    grpc::channel channel(listener.address(), co);
    const text_stub stub{channel};
    const auto report = [&](const char* what, double bytes, double s) {
      std::printf("{\"rtt_ms\":%d,\"windows\":\"%s\",\"what\":\"%s\",\"round_trips\":%.1f,\"megabytes_per_second\":%.1f}\n", round_trip_ms,
                  adaptive ? "adaptive" : "fixed", what, s * 1e3 / round_trip_ms, bytes / s / 1e6);
      std::fflush(stdout);
    };
    const auto unary = [&](const char* what, size_t n) {
      limited_context warm;
      check(stub.unary(warm, "/test.Text/Echo", "x").ok(), what);
      constexpr int kCalls = 4;
      double best = 1e9;
      for (int i = 0; i < kCalls; i++) {
        best = std::min(best, seconds([&] {
                          limited_context ctx;
                          check(stub.unary(ctx, "/test.Text/Echo", std::string(n, 'u')).ok(), what);
                        }));
      }
      report(what, static_cast<double>(2 * n), best);
    };
    unary("echo of 1 MiB, fresh", kMiB);
    const auto upload = [&](const char* what, int n) {
      const double s = seconds([&] {
        grpc::client_context ctx;
        auto out = stub.client_stream(ctx, "/test.Text/Upload");
        for (int i = 0; i < n; i++) check(out.write(text{std::string(kMiB, 'u')}), what);
        check(out.finish().ok(), what);
      });
      report(what, static_cast<double>(n) * kMiB, s);
    };
    upload("upload of 128 MiB", 128);
    const double s = seconds([&] {
      grpc::client_context ctx;
      auto in = stub.server_stream(ctx, "/test.Text/Stream", "2048 65536");
      size_t got = 0;
      for (const text& m : in) got += m.bytes.size();
      check(got == 128 * kMiB, "download");
    });
    report("download of 128 MiB", 128 * kMiB, s);
    unary("echo of 1 MiB, after them", kMiB);
    unary("echo of 3 MiB, after them", 3 * kMiB);
    channel.close();
  }
  listener.close();
  server.shutdown(std::chrono::seconds(5));
  proxies.wait();
}

}  // namespace

int main(int argc, char** argv) {
  const int ms = argc > 1 ? std::atoi(argv[1]) : 100;
  if (ms < 1) {
    std::fprintf(stderr, "bench_path: round trip '%s' is no number of milliseconds above 0; say bench_path 100\n", argv[1]);
    return 2;
  }
  return warren::run([&] {
    measure(false, ms);
    measure(true, ms);
  });
}

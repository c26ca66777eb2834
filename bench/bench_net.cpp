// bench_net: an echo server and its clients in one process, over loopback TCP. One operation is one message of 64 bytes there and back;
// cpu_time is the processor time it costs, both ends and the kernel's share included. Twin: bench/peers/go/src/warrenbench/net/main.go.
#include <array>
#include <asio/read.hpp>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include <warren/chan.h>
#include <warren/go.h>
#include <warren/net.h>
#include <warren/sync.h>

#include "bench/support.h"

namespace {

using benchmark::State;

constexpr size_t kMessageBytes = 64;

void serve(warren::tcp_conn conn) {
  std::array<char, 4096> buffer;
  asio::error_code ec;
  for (;;) {
    const size_t n = conn.read_some(asio::buffer(buffer), ec);
    if (ec) return;
    conn.write(asio::buffer(buffer.data(), n), ec);
    if (ec) return;
  }
}

void client(warren::tcp_conn& conn, int64_t messages) {
  std::array<char, kMessageBytes> out{}, in{};
  for (int64_t i = 0; i < messages; i++) {
    out[0] = static_cast<char>(i);
    conn.write(asio::buffer(out));
    asio::read(conn, asio::buffer(in));
    if (in[0] != out[0]) {
      std::fprintf(stderr, "echo: message %lld came back wrong\n", static_cast<long long>(i));
      std::abort();
    }
  }
}

// n messages over that many connections, each with a goroutine at both ends.
void echo(State& state, int64_t connections) {
  const auto total = static_cast<int64_t>(state.max_iterations);
  warren::tcp_listener listener = warren::listen("127.0.0.1:0");
  const warren::tcp_endpoint address = listener.local_endpoint();
  warren::wait_group acceptor, ready, finished, closed;
  acceptor.add(1);
  warren::go([&] {
    asio::error_code ec;
    for (;;) {
      warren::tcp_conn conn = listener.accept(ec);
      if (ec) break;
      warren::go([conn = std::move(conn)]() mutable { serve(std::move(conn)); });
    }
    acceptor.done();
  });
  const auto begin = warren::make_chan<warren::unit>(), over = warren::make_chan<warren::unit>();
  for (int64_t c = 0; c < connections; c++) {
    const int64_t share = total / connections + (c < total % connections ? 1 : 0);
    ready.add(1);
    finished.add(1);
    closed.add(1);
    warren::go([&, begin, over, share] {
      warren::tcp_conn conn = warren::dial(address);
      client(conn, 1);  // the server's goroutine for it exists from here on
      ready.done();
      begin.recv();
      client(conn, share);
      finished.done();
      over.recv();  // closing is not part of the work
      conn.close();
      closed.done();
    });
    if (c % 64 == 63) ready.wait();  // stay under the listen backlog
  }
  ready.wait();
  bench::timed(state, [&](int64_t) {
    begin.close();
    finished.wait();
  });
  over.close();
  closed.wait();
  listener.close();
  acceptor.wait();
}

}  // namespace

int main(int argc, char** argv) {
  bench::add("echo/1", [](State& state) { echo(state, 1); });
  bench::add("echo/1000", [](State& state) { echo(state, 1000); });
  return bench::main(argc, argv);
}

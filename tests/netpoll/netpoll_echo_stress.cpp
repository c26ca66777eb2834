// 10 000 goroutines echo over 1 000 TCP connections on all Ps, while collections run in a loop. Every byte is checked; exit code 1 if one
// is wrong or missing.
//
// Per connection ten goroutines:
//   client  4 callers   send framed requests over the one connection (tcp_conn::write keeps frames whole) and wait for their own reply on a
//   channel
//           1 reader    reads replies and hands each to its caller
//   server  1 reader    reads requests and passes them on through a channel
//           4 handlers  copy the payload into a list of small collected nodes, drop the message, yield, and send the reply out of the list
// Payloads lie in collected arrays that recv(2) writes into. If the collector frees a node, a message or an array too early, its memory is
// used again at once by one of the other nine thousand and the comparison fails.
//
// Usage: netpoll_echo_stress [--seconds N] [--connections N] [--no-gc]; WARREN_STRESS_SECONDS=N gives the default (3).
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <asio/read.hpp>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "warren/chan.h"
#include "warren/gc.h"
#include "warren/go.h"
#include "warren/net.h"
#include "warren/ptr.h"
#include "warren/sync.h"

namespace {

using asio::error_code;
using warren::array;
using warren::chan;
using warren::ptr;

constexpr int kCallers = 4;
constexpr int kHandlers = 4;
constexpr uint32_t kLargestPayload = 1500;
constexpr uint32_t kNodeBytes = 24;

#if defined(__SANITIZE_THREAD__)
constexpr int64_t kConnections = 100;  // ThreadSanitizer counts a goroutine's stack as a thread and ends at 8128 of them
#else
constexpr int64_t kConnections = 1000;
#endif

struct frame_header {
  uint32_t size;  // of the payload
  uint32_t caller;
  uint32_t sequence;
  uint32_t seed;
};

struct message {
  frame_header header{};
  array<unsigned char> payload;
};

struct node {  // a piece of a payload
  ptr<node> next;
  unsigned char bytes[kNodeBytes] = {};
};

struct shared {
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> requests{0}, replies{0}, bytes{0}, wrong{0}, errors{0}, collections{0};
  std::atomic<int64_t> fewest{INT64_MAX};
};

uint32_t next_random(uint32_t& state) {
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

void fill(unsigned char* p, uint32_t n, uint32_t seed) {
  uint32_t state = seed | 1;
  for (uint32_t i = 0; i < n; ++i) p[i] = static_cast<unsigned char>(next_random(state));
}

bool matches(const unsigned char* p, uint32_t n, uint32_t seed) {
  uint32_t state = seed | 1;
  for (uint32_t i = 0; i < n; ++i)
    if (p[i] != static_cast<unsigned char>(next_random(state))) return false;
  return true;
}

[[gnu::format(printf, 2, 3)]] void complain(std::atomic<uint64_t>& counter, const char* format, ...) {
  if (counter.fetch_add(1) >= 10) return;
  char line[256];
  va_list args;
  va_start(args, format);
  vsnprintf(line, sizeof line, format, args);
  va_end(args);
  fprintf(stderr, "netpoll_echo_stress: %s\n", line);
}

// nullptr at the end of the stream.
ptr<message> read_message(warren::tcp_conn& c, shared& s, const char* who) {
  frame_header h;
  error_code ec;
  const size_t n = asio::read(c, asio::buffer(&h, sizeof h), ec);
  if (ec) {
    if (ec != asio::error::eof || n != 0) complain(s.errors, "%s: reading a header: %s after %zu bytes", who, ec.message().c_str(), n);
    return nullptr;
  }
  if (h.size == 0 || h.size > kLargestPayload || h.caller >= kCallers) {
    complain(s.wrong, "%s: header is garbage: size %u, caller %u", who, h.size, h.caller);
    return nullptr;
  }
  ptr<message> m = warren::make<message>();
  m->header = h;
  m->payload = warren::make_array<unsigned char>(h.size);
  asio::read(c, asio::buffer(m->payload.data(), h.size), ec);
  if (ec) {
    complain(s.errors, "%s: reading %u bytes: %s", who, h.size, ec.message().c_str());
    return nullptr;
  }
  return m;
}

bool write_message(warren::tcp_conn& c, const frame_header& h, const unsigned char* payload, shared& s, const char* who) {
  const std::array<asio::const_buffer, 2> both{asio::buffer(&h, sizeof h), asio::buffer(payload, h.size)};
  error_code ec;
  c.write(both, ec);
  if (ec) complain(s.errors, "%s: writing %u bytes: %s", who, h.size, ec.message().c_str());
  return !ec;
}

void handle(warren::tcp_conn& c, const chan<ptr<message>>& requests, shared& s) {
  for (ptr<message> m : requests) {
    const frame_header h = m->header;
    ptr<node> list, last;
    for (uint32_t at = 0; at < h.size; at += kNodeBytes) {
      ptr<node> piece = warren::make<node>();
      memcpy(piece->bytes, m->payload.data() + at, std::min(kNodeBytes, h.size - at));
      (last ? last->next : list) = piece;
      last = piece;
    }
    m = nullptr;
    last = nullptr;
    if (h.sequence % 4 == 0) warren::yield();  // others allocate, and the collector runs
    array<unsigned char> reply = warren::make_array<unsigned char>(h.size);
    uint32_t at = 0;
    for (ptr<node> piece = list; piece; piece = piece->next, at += kNodeBytes)
      memcpy(reply.data() + at, piece->bytes, std::min(kNodeBytes, h.size - at));
    if (!write_message(c, h, reply.data(), s, "handler")) return;
  }
}

void call(warren::tcp_conn& c, uint32_t caller, uint32_t seed, const chan<ptr<message>>& replies, shared& s) {
  uint32_t state = seed | 1;
  int64_t rounds = 0;
  do {
    frame_header h{};
    h.size = 1 + next_random(state) % kLargestPayload;
    h.caller = caller;
    h.sequence = static_cast<uint32_t>(rounds);
    h.seed = next_random(state);
    array<unsigned char> payload = warren::make_array<unsigned char>(h.size);
    fill(payload.data(), h.size, h.seed);
    s.requests.fetch_add(1, std::memory_order_relaxed);
    if (!write_message(c, h, payload.data(), s, "caller")) return;
    const std::optional<ptr<message>> got = replies.recv();
    if (!got || !*got) {
      complain(s.errors, "caller: no reply to request %u", h.sequence);
      return;
    }
    const message& m = **got;
    if (memcmp(&m.header, &h, sizeof h) != 0 || m.payload.size() != h.size || !matches(m.payload.data(), h.size, h.seed) ||
        !matches(payload.data(), h.size, h.seed)) {
      complain(s.wrong, "reply to request %u of caller %u: bytes differ", h.sequence, caller);
    }
    s.replies.fetch_add(1, std::memory_order_relaxed);
    s.bytes.fetch_add(h.size, std::memory_order_relaxed);
    ++rounds;
  } while (!s.stop.load(std::memory_order_relaxed));
  int64_t fewest = s.fewest.load();
  while (rounds < fewest && !s.fewest.compare_exchange_weak(fewest, rounds)) {
  }
}

struct connection {
  warren::tcp_conn client, server;
  warren::wait_group callers, handlers;
};

void start(connection& c, uint32_t seed, warren::wait_group& all, shared& s) {
  using channel = chan<ptr<message>>;
  std::array<channel, kCallers> replies;
  for (channel& r : replies) r = warren::make_chan<ptr<message>>(1);
  const channel requests = warren::make_chan<ptr<message>>(2);

  for (uint32_t i = 0; i < kCallers; ++i) {
    c.callers.add(1);
    all.go([&c, &s, i, seed, r = replies[i]] {
      call(c.client, i, seed * 31 + i, r, s);
      c.callers.done();
      if (i != 0) return;
      c.callers.wait();  // the first also says good-bye
      error_code ec;
      c.client.shutdown(asio::socket_base::shutdown_send, ec);
      if (ec) complain(s.errors, "shutdown: %s", ec.message().c_str());
    });
  }
  all.go([&c, &s, replies] {
    while (const ptr<message> m = read_message(c.client, s, "client reader")) replies[m->header.caller].send(m);
    for (const channel& r : replies) r.close();
  });
  all.go([&c, &s, requests] {
    while (const ptr<message> m = read_message(c.server, s, "server reader")) requests.send(m);
    requests.close();
    c.handlers.wait();
    error_code ec;
    c.server.shutdown(asio::socket_base::shutdown_send, ec);
  });
  for (int i = 0; i < kHandlers; ++i) {
    c.handlers.add(1);
    all.go([&c, &s, requests] {
      handle(c.server, requests, s);
      c.handlers.done();
    });
  }
}

int64_t number_after(const char* flag, const char* text) {
  char* end = nullptr;
  const long n = text == nullptr ? 0 : strtol(text, &end, 10);
  if (text == nullptr || *end != 0 || n < 1 || n > 100'000) {
    fprintf(stderr, "netpoll_echo_stress: %s %s: give a number from 1 to 100000\n", flag, text == nullptr ? "" : text);
    exit(2);
  }
  return n;
}

}  // namespace

int main(int argc, char** argv) {
  int64_t seconds = 3, connections = kConnections;
  bool collect = true;
  if (const char* e = getenv("WARREN_STRESS_SECONDS")) seconds = number_after("WARREN_STRESS_SECONDS", e);
  for (int i = 1; i < argc; ++i) {
    if (strcmp(argv[i], "--seconds") == 0) {
      seconds = number_after(argv[i], i + 1 < argc ? argv[i + 1] : nullptr);
      ++i;
    } else if (strcmp(argv[i], "--connections") == 0) {
      connections = number_after(argv[i], i + 1 < argc ? argv[i + 1] : nullptr);
      ++i;
    } else if (strcmp(argv[i], "--no-gc") == 0) {
      collect = false;
    } else {
      fprintf(stderr, "netpoll_echo_stress: unknown argument %s; use --seconds N, --connections N, --no-gc\n", argv[i]);
      return 2;
    }
  }
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  const rlim_t needed = static_cast<rlim_t>(2 * connections + 64);
  if (files.rlim_cur < needed) {
    files.rlim_cur = std::min(needed, files.rlim_max);
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < needed) {
      fprintf(stderr, "netpoll_echo_stress: %lld connections need %llu descriptors, the limit is %llu; raise it (ulimit -n)\n",
              static_cast<long long>(connections), static_cast<unsigned long long>(needed),
              static_cast<unsigned long long>(files.rlim_cur));
      return 2;
    }
  }

  shared s;
  int64_t goroutines = 0;
  warren::run([&] {
    std::vector<std::unique_ptr<connection>> all_connections;
    warren::wait_group all;
    warren::tcp_listener l = warren::listen("127.0.0.1:0");
    const warren::tcp_endpoint where = l.local_endpoint();
    for (int64_t i = 0; i < connections; ++i) {
      auto c = std::make_unique<connection>();
      c->client = warren::dial(where);
      c->server = l.accept();
      all_connections.push_back(std::move(c));
    }
    uint32_t seed = 1;
    for (const auto& c : all_connections) start(*c, seed++ * 2654435761u, all, s);
    goroutines = warren::goroutine_count();
    warren::wait_group collector;
    std::atomic<bool> finished{false};
    if (collect) {
      collector.go([&] {
        while (!finished.load(std::memory_order_relaxed)) {
          warren::gc();
          s.collections.fetch_add(1, std::memory_order_relaxed);
          warren::yield();
        }
      });
    }
    warren::sleep(std::chrono::seconds(seconds));
    s.stop.store(true, std::memory_order_relaxed);
    all.wait();
    finished.store(true, std::memory_order_relaxed);
    collector.wait();
  });

  const bool complete = s.requests.load() == s.replies.load();
  printf(
      "connections %lld, goroutines %lld, requests %llu, replies %llu, bytes %llu each way, fewest per caller %lld, collections %llu, "
      "wrong %llu, errors %llu\n",
      static_cast<long long>(connections), static_cast<long long>(goroutines), static_cast<unsigned long long>(s.requests.load()),
      static_cast<unsigned long long>(s.replies.load()), static_cast<unsigned long long>(s.bytes.load()),
      static_cast<long long>(s.fewest.load()), static_cast<unsigned long long>(s.collections.load()),
      static_cast<unsigned long long>(s.wrong.load()), static_cast<unsigned long long>(s.errors.load()));
  if (!complete) fprintf(stderr, "netpoll_echo_stress: requests without a reply: a lost message\n");
  if (collect && s.collections.load() == 0) fprintf(stderr, "netpoll_echo_stress: no collection ran\n");
  return complete && s.wrong.load() == 0 && s.errors.load() == 0 && (!collect || s.collections.load() != 0) ? 0 : 1;
}

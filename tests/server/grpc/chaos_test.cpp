// Chaos: clients connect, call, stall, reset and vanish at random while the server under them is drained and started again.
//
// Some clients are polite: our own channel, or frames by hand, with calls whose fate is judged against a ledger in which each handler
// enters that it ran. What must hold, whatever the others do:
//   - no call runs twice;
//   - a call that ran is answered: by its reply, by the server's "shutting down", or, if the client itself gave up, by what the client did;
//   - a call that ends in any other way has not run, and does not run later either;
//   - a patient call ends.
// When all is over goroutines and descriptors are no more than before, and so are the bytes, give or take what caches keep (kSlack).
//
// WARREN_STRESS_SECONDS (20), WARREN_CHAOS_CLIENTS (200), WARREN_SEED (drawn and printed). The seed fixes what each client decides, not how
// they interleave.
#include <dirent.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <optional>
#include <random>

#include <warren/gc.h>
#include <warren/sync.h>

#include "tests/server/client/text_stub.h"
#include "tests/server/grpc/text_service.h"
#include "tests/server/raw_client.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
extern "C" size_t __sanitizer_get_current_allocated_bytes();  // <sanitizer/allocator_interface.h>, which does not come with g++
#endif

namespace {

using namespace std::chrono_literals;
using warren::testing::message;
using warren::testing::raw_client;
using warren::testing::text;
using warren::testing::text_stub;
using warren::testing::until;
namespace grpc = warren::grpc;

constexpr uint32_t kMostCalls = 1u << 24;
// What a later round may hold more than an earlier one: free lists that are not full yet, blocks that malloc keeps per thread and counts as
// used (0.3 MB after 600 restarts and three million calls, up to 0.8 MB after fewer). A leak of a few hundred bytes per call or connection
// is above it in the short form, one of a byte in the long one.
constexpr int64_t kSlack = 2 << 20;

int64_t number_from(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::max<int64_t>(1, std::strtoll(text, nullptr, 10));
}

class dice {
 public:
  explicit dice(uint64_t seed) : engine_(seed) {}
  uint64_t below(uint64_t n) { return engine_() % n; }
  bool one_in(uint64_t n) { return below(n) == 0; }
  std::chrono::milliseconds up_to(uint64_t ms) { return std::chrono::milliseconds(below(ms + 1)); }

 private:
  std::mt19937_64 engine_;
};

// Which calls ran, by number, and what was wrong.
class ledger {
 public:
  ledger() : runs_(new std::atomic<uint8_t>[kMostCalls]()) {}

  uint32_t open() { return next_++ % kMostCalls; }
  bool full() const { return next_ > kMostCalls - 10'000; }
  void ran(uint32_t id) { runs_[id % kMostCalls]++; }
  int runs(uint32_t id) const { return runs_[id]; }
  // It has not run, and must not run later.
  void not_run(uint32_t id, const std::string& why) {
    if (runs(id) != 0) wrong(id, "ran, and its caller learned only: " + why);
    const std::lock_guard hold(mutex_);
    not_run_.push_back(id);
  }
  void wrong(uint32_t id, const std::string& what) {
    const std::lock_guard hold(mutex_);
    if (wrongs_++ < 10) complaints_ += "call " + std::to_string(id) + ": " + what + "\n";
  }
  // At the end of a round, when no handler runs.
  void settle() {
    std::vector<uint32_t> ids;
    {
      const std::lock_guard hold(mutex_);
      ids.swap(not_run_);
    }
    for (const uint32_t id : ids) {
      if (runs(id) != 0) wrong(id, "ran after its caller had been told that it would not");
    }
    for (uint32_t id = settled_; id < next_; id++) {
      if (runs(id) > 1) wrong(id, "ran " + std::to_string(runs(id)) + " times");
    }
    settled_ = next_;
  }
  std::string complaints() const { return complaints_; }

  std::atomic<uint64_t> answered{0}, shut_down{0}, unrun{0}, given_up{0};

 private:
  std::unique_ptr<std::atomic<uint8_t>[]> runs_;
  std::atomic<uint32_t> next_{0};
  uint32_t settled_ = 0;
  std::mutex mutex_;  // held for a few instructions; guards:
  std::vector<uint32_t> not_run_;
  uint64_t wrongs_ = 0;
  std::string complaints_;
};

// Requests are "<number> <more> …"; of a stream, the first message is.
struct chaos_service final : grpc::service {
  explicit chaos_service(ledger& l) : book(l) {}
  ledger& book;

  uint32_t enter(const text& request, long* more = nullptr) {
    char* rest = nullptr;
    const auto id = static_cast<uint32_t>(std::strtoul(request.bytes.c_str(), &rest, 10));
    if (more != nullptr) *more = std::strtol(rest, nullptr, 10);
    book.ran(id);
    return id;
  }
  // "<number> <milliseconds>": answers with the request after that time.
  grpc::result<text> Work(grpc::server_context& ctx, const text& request) {
    long ms = 0;
    enter(request, &ms);
    if (ms > 0 && warren::sleep(ctx, std::chrono::milliseconds(ms))) return grpc::cancelled("seen by the handler");
    return request;
  }
  // "<number> <messages>": so many, of 1000 bytes.
  grpc::status Count(grpc::server_context&, const text& request, grpc::writer<text>& out) {
    long n = 0;
    enter(request, &n);
    for (long i = 0; i < n; i++) {
      if (!out.write(text{std::string(1000, 'c')})) return grpc::cancelled("seen by the handler");
    }
    return {};
  }
  // How many messages came.
  grpc::result<text> Sum(grpc::server_context& ctx, grpc::reader<text>& in) {
    int n = 0;
    for (const text& m : in) {
      if (n++ == 0) enter(m);
    }
    if (ctx.cancelled()) return grpc::cancelled("seen by the handler");
    return text{std::to_string(n)};
  }
  grpc::status Chat(grpc::server_context& ctx, grpc::stream<text, text>& io) {
    text m;
    for (bool first = true; io.read(m); first = false) {
      if (first) enter(m);
      if (!io.write(m)) break;
    }
    if (ctx.cancelled()) return grpc::cancelled("seen by the handler");
    return {};
  }

  std::string_view full_name() const override { return "test.Chaos"; }
  std::span<const grpc::method_descriptor> methods() const override {
    using enum grpc::method_kind;
    using s = chaos_service;
    static constexpr grpc::method_descriptor table[] = {
        {"Work", unary, &grpc::unary<&s::Work, text, text>},
        {"Count", server_streaming, &grpc::server_streaming<&s::Count, text, text>},
        {"Sum", client_streaming, &grpc::client_streaming<&s::Sum, text, text>},
        {"Chat", bidi_streaming, &grpc::bidi_streaming<&s::Chat, text, text>},
    };
    return table;
  }
};

struct world {
  ledger& book;
  std::string address;
  std::atomic<bool> stop{false};      // the clients end what they are at
  std::atomic<bool> all_gone{false};  // and have
  std::atomic<uint64_t> restarts{0}, vanished{0};
};

// --- polite clients ----------------------------------------------------------------------------------------------------------------------

// What a call of our client came to. gave_up: it had a deadline it might miss, or was cancelled, or its channel was closed under it.
void judge(world& w, uint32_t id, const grpc::status& s, bool right, bool gave_up) {
  const std::string said = std::string(grpc::to_string(s.code())) + " \"" + s.message() + "\"";
  switch (s.code()) {
    case grpc::status_code::ok:
      w.book.answered++;
      if (w.book.runs(id) != 1) w.book.wrong(id, "answered, and ran " + std::to_string(w.book.runs(id)) + " times");
      if (!right) w.book.wrong(id, "answered wrongly");
      return;
    case grpc::status_code::cancelled:
    case grpc::status_code::deadline_exceeded:
      w.book.given_up++;
      if (!gave_up && s.message() != "seen by the handler") w.book.wrong(id, "a patient call ended with " + said);
      return;
    case grpc::status_code::unavailable:
      if (s.message().starts_with("the server is shutting down")) {
        w.book.shut_down++;
        return;
      }
      w.book.unrun++;
      // A call that was given up may be told anything.
      if (!gave_up) w.book.not_run(id, said);
      return;
    default: w.book.wrong(id, "ended with " + said);
  }
}

void one_call(world& w, dice& d, grpc::channel& channel, bool channel_may_close) {
  const text_stub stub{channel};
  const uint32_t id = w.book.open();
  const std::string number = std::to_string(id);
  grpc::client_context ctx;
  const bool hurried = d.one_in(4);
  const bool gives_up = hurried || channel_may_close;
  ctx.timeout(hurried ? d.up_to(200) : 60'000ms);
  ctx.wait_for_ready(!d.one_in(3));
  switch (d.below(5)) {
    case 0:
    case 1: {
      const std::string request = number + " " + std::to_string(d.one_in(5) ? d.below(150) : d.below(3));
      const auto reply = stub.unary(ctx, "/test.Chaos/Work", request);
      judge(w, id, reply.status(), reply && reply->bytes == request, gives_up);
      return;
    }
    case 2: {
      const auto want = static_cast<int>(d.one_in(5) ? d.below(300) : d.below(5));
      auto in = stub.server_stream(ctx, "/test.Chaos/Count", number + " " + std::to_string(want));
      int got = 0;
      for (text m; in.read(m);) {
        got++;
        if (d.one_in(100)) warren::sleep(d.up_to(10));
        if (d.one_in(200)) return;  // dropped: its destruction cancels it
      }
      judge(w, id, in.finish(), got == want, gives_up);
      return;
    }
    case 3: {
      auto out = stub.client_stream(ctx, "/test.Chaos/Sum");
      const auto want = 1 + static_cast<int>(d.below(5));
      for (int i = 0; i < want && out.write(text{number}); i++) {
        if (d.one_in(10)) warren::sleep(d.up_to(10));
      }
      const auto reply = out.finish();
      judge(w, id, reply.status(), reply && reply->bytes == std::to_string(want), gives_up);
      return;
    }
    default: {
      auto io = stub.bidi(ctx, "/test.Chaos/Chat");
      const uint64_t turns = 1 + d.below(5);
      bool right = true;
      text m;
      for (uint64_t i = 0; i < turns && right; i++) right = io.write(text{number}) && io.read(m) && m.bytes == number;
      if (d.one_in(20)) return;
      io.writes_done();
      right = right && !io.read(m);
      judge(w, id, io.finish(), right, gives_up);
    }
  }
}

void our_client(world& w, dice& d) {
  auto channel = std::make_unique<grpc::channel>(w.address, grpc::channel_options{.initial_backoff = 10ms, .max_backoff = 50ms});
  const bool close_under_them = d.one_in(4);
  warren::wait_group callers;
  const uint64_t n = 1 + d.below(4);
  for (uint64_t i = 0; i < n; i++) {
    callers.go([&, seed = d.below(UINT64_MAX)] {
      dice mine(seed);
      for (uint64_t calls = 1 + mine.below(10); calls > 0 && !w.stop; calls--) one_call(w, mine, *channel, close_under_them);
    });
  }
  if (close_under_them) {
    warren::sleep(d.up_to(50));
    channel->close();
  }
  callers.wait();
}

// Frames by hand, read to the end: what the connection says about a call is what counts.
void polite_by_hand(world& w, dice& d, raw_client& c) {
  std::vector<std::pair<int32_t, uint32_t>> calls;
  for (uint64_t n = 1 + d.below(4); n > 0; n--) {
    const uint32_t id = w.book.open();
    const std::string request = std::to_string(id) + " " + std::to_string(d.below(20));
    calls.emplace_back(c.start("/test.Chaos/Work", request), id);
  }
  for (const auto& [stream, id] : calls) {
    const warren::testing::reply& r = c.wait(stream);
    if (r.ended && !r.reset) {
      const std::string said = r.grpc_status();
      if (said == "0") {
        w.book.answered++;
        if (w.book.runs(id) != 1 || r.messages().size() != 1) w.book.wrong(id, "answered wrongly");
      } else if (said == "14") {
        w.book.shut_down++;
      } else if (said != "1") {
        w.book.wrong(id, "ended with grpc-status " + said);
      }
      continue;
    }
    w.book.unrun++;
    if (r.reset) {
      if (*r.reset != NGHTTP2_REFUSED_STREAM) w.book.wrong(id, "was reset with code " + std::to_string(*r.reset));
      w.book.not_run(id, "RST_STREAM");
      continue;
    }
    if (c.timed_out) {
      w.book.wrong(id, "was never answered");
      continue;
    }
    w.book.not_run(id, "the end of the connection");
    // A stream at or below the last GOAWAY's number was accepted.
    if (!c.goaway.empty() && stream <= c.goaway.back().first) {
      w.book.wrong(id, "was accepted by GOAWAY " + std::to_string(c.goaway.back().first) + " and not answered");
    }
  }
}

// --- clients that are not ----------------------------------------------------------------------------------------------------------------

// A connection and the means to end it by RST.
struct connection {
  std::unique_ptr<raw_client> client;
  int fd = -1;

  void vanish(bool abruptly) {
    if (abruptly) {
      const linger now{1, 0};
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    client.reset();
  }
};

std::optional<connection> connect(world& w, bool greet) {
  asio::error_code ec;
  auto socket = std::make_unique<warren::tcp_conn>(warren::dial(w.address, ec));
  if (ec) return std::nullopt;
  connection c;
  c.fd = socket->native_handle();
  c.client = std::make_unique<raw_client>(std::move(socket), greet);
  return c;
}

void by_hand(world& w, dice& d) {
  const uint64_t manner = d.below(9);
  std::optional<connection> c = connect(w, manner != 0);
  if (!c) {
    warren::sleep(d.up_to(10));
    return;
  }
  raw_client& raw = *c->client;
  const auto call = [&](const char* method, const std::string& more) {
    return raw.start(method, std::to_string(w.book.open()) + " " + more);
  };
  switch (manner) {
    case 0:  // says nothing, or what is no HTTP/2
      if (d.one_in(2)) raw.send(d.one_in(2) ? "GET / HTTP/1.1\r\nHost: x\r\n\r\n" : std::string(50, static_cast<char>(d.below(256))));
      warren::sleep(d.up_to(100));
      break;
    case 1:  // calls, and does not stay for the answers
      for (uint64_t n = d.below(20); n > 0; n--) call("/test.Chaos/Work", std::to_string(d.below(50)));
      break;
    case 2:  // asks for much, and reads nothing
      for (uint64_t n = 1 + d.below(3); n > 0; n--) call("/test.Chaos/Count", "5000");
      warren::sleep(d.up_to(300));
      break;
    case 3: {  // resets what it began
      std::vector<int32_t> ids;
      for (uint64_t n = 1 + d.below(20); n > 0; n--) ids.push_back(call(d.one_in(2) ? "/test.Chaos/Work" : "/test.Chaos/Count", "20"));
      for (const int32_t id : ids) {
        if (!d.one_in(3)) raw.reset(id);
      }
      raw.ping();
      break;
    }
    case 4: {  // stops within a frame
      const std::string f = raw_client::frame_bytes(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, raw.next_id(),
                                                    raw.encode(raw_client::request_fields("/test.Chaos/Work")));
      raw.send(f.substr(0, 1 + d.below(f.size())));
      warren::sleep(d.up_to(300));
      break;
    }
    case 5: {  // stops within a message
      const int32_t id = raw.begin(raw_client::request_fields(d.one_in(2) ? "/test.Chaos/Sum" : "/test.Chaos/Work"));
      const std::string m = message(std::to_string(w.book.open()) + std::string(d.below(5000), ' '));
      raw.data(id, m.substr(0, d.below(m.size())), false);
      warren::sleep(d.up_to(300));
      break;
    }
    case 6:  // breaks the protocol
      raw.send_frame(static_cast<uint8_t>(d.below(12)), static_cast<uint8_t>(d.below(256)), static_cast<int32_t>(d.below(5)),
                     std::string(d.below(40), static_cast<char>(d.below(256))));
      if (d.one_in(2)) raw.ping();
      break;
    default: polite_by_hand(w, d, raw);
  }
  w.vanished++;
  c->vanish(d.one_in(2));
}

// --- the server under them ---------------------------------------------------------------------------------------------------------------

grpc::server_options options(const std::string& listen) {
  // Stalled peers must not outlive the round; sums of what polite calls take stay far below.
  return {.listen = listen, .preface_timeout = 1000ms, .write_timeout = 1000ms, .request_timeout = 1000ms, .min_ping_interval = 0ms};
}

void serve_again_and_again(world& w, dice d, chaos_service& service, std::unique_ptr<grpc::server> running) {
  static constexpr std::chrono::milliseconds kGraces[] = {0ms, 5ms, 50ms, 2000ms};
  for (;;) {
    // The last one stays for those who wait for it.
    for (auto left = 20ms + d.up_to(400); !w.all_gone && (left > 0ms || w.stop); left -= 10ms) warren::sleep(10ms);
    running->shutdown(kGraces[d.below(std::size(kGraces))]);
    running.reset();
    if (w.all_gone) return;
    w.restarts++;
    warren::sleep(d.up_to(20));
    running = std::make_unique<grpc::server>(options(w.address));
    running->add(service);
    running->start();
  }
}

// Clients and server for so long, all of them over at the end.
void round_of(ledger& book, std::chrono::milliseconds time, int64_t clients, uint64_t seed) {
  world w{.book = book, .address = {}};
  chaos_service service(book);
  // An address of this process alone, all of 127/8 being loopback: nobody else takes the port between two servers.
  const auto pid = static_cast<unsigned>(getpid());
  const std::string host =
      "127." + std::to_string(1 + (pid >> 16 & 63)) + "." + std::to_string(pid >> 8 & 255) + "." + std::to_string(pid & 255);
  auto first = std::make_unique<grpc::server>(options(host + ":0"));
  first->add(service);
  first->start();
  w.address = first->address();

  warren::wait_group server;
  server.go([&] { serve_again_and_again(w, dice(seed), service, std::move(first)); });
  warren::wait_group clients_running;
  for (int64_t i = 0; i < clients; i++) {
    clients_running.go([&, i] {
      dice d(seed + 1 + static_cast<uint64_t>(i));
      while (!w.stop) {
        if (d.one_in(2)) {
          our_client(w, d);
        } else {
          by_hand(w, d);
        }
      }
    });
  }
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end && !book.full()) warren::sleep(20ms);
  w.stop = true;
  clients_running.wait();
  w.all_gone = true;
  server.wait();
  book.settle();
  std::printf("chaos: %" PRIu64 " restarts, %" PRIu64 " connections by hand; calls answered %" PRIu64 ", told of the shutdown %" PRIu64
              ", not run %" PRIu64 ", given up %" PRIu64 "\n",
              w.restarts.load(), w.vanished.load(), book.answered.load(), book.shut_down.load(), book.unrun.load(), book.given_up.load());
  std::fflush(stdout);
}

// --- what must come back -----------------------------------------------------------------------------------------------------------------

struct counts {
  int64_t goroutines = 0;
  int64_t descriptors = 0;
  int64_t bytes = 0;  // collected objects and malloc's blocks
};

int64_t open_descriptors() {
  int64_t n = 0;
  DIR* dir = opendir("/proc/self/fd");
  while (readdir(dir) != nullptr) n++;
  closedir(dir);
  return n;
}

size_t malloced_bytes() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return __sanitizer_get_current_allocated_bytes();  // malloc is the sanitizer's, and mallinfo2 says 0
#else
  const auto malloced = mallinfo2();
  return malloced.uordblks + malloced.hblkhd;
#endif
}

counts count() {
  warren::gc();
  warren::gc();
  return {warren::goroutine_count(), open_descriptors(), static_cast<int64_t>(warren::read_mem_stats().heap.bytes + malloced_bytes())};
}

// Not more than before. Less is no fault: on a busy machine something of the first round may still have been ending when it was counted.
bool back_to(const counts& start) {
  const counts now = count();
  return now.goroutines <= start.goroutines && now.descriptors <= start.descriptors;
}

TEST(chaos, every_call_has_its_answer_and_nothing_is_left_behind) {
  const auto time = std::chrono::milliseconds(1000 * number_from("WARREN_STRESS_SECONDS", 20));
  const int64_t clients = number_from("WARREN_CHAOS_CLIENTS", 200);
  const auto seed = static_cast<uint64_t>(number_from("WARREN_SEED", static_cast<int64_t>(std::random_device{}())));
  std::printf("chaos: WARREN_SEED=%" PRIu64 "\n", seed);
  std::fflush(stdout);
  warren::run([&] {
    ledger book;
    // What is made once is made: the poller, the resolver.
    round_of(book, 1ms, 1, seed);
    const counts start = count();
    // And the caches are filled.
    round_of(book, time / 4, clients, seed);
    EXPECT_TRUE(until([&] { return back_to(start); }));
    const counts before = count();
    round_of(book, time - time / 4, clients, seed + 1'000'000);
    EXPECT_TRUE(until([&] { return back_to(start); }));
    EXPECT_TRUE(until([&] { return count().bytes <= before.bytes + kSlack; }, 5s));
    const counts after = count();
    std::printf("chaos: goroutines %" PRId64 ", %" PRId64 ", %" PRId64 "; descriptors %" PRId64 ", %" PRId64 ", %" PRId64 "; bytes %" PRId64
                ", %" PRId64 ", %" PRId64 "\n",
                start.goroutines, before.goroutines, after.goroutines, start.descriptors, before.descriptors, after.descriptors,
                start.bytes, before.bytes, after.bytes);
    EXPECT_LE(after.goroutines, start.goroutines);
    EXPECT_LE(after.descriptors, start.descriptors);
    EXPECT_GT(book.answered, 0u);
    EXPECT_EQ(book.complaints(), "");
  });
}

}  // namespace

// bench_attacks: how long a well-behaved connection waits for its answers while others attack the server.
//
// For each attack: greeter_server with its defaults in a process of its own on one processor; a second process (this program with --victim)
// on the other, which makes a call every millisecond over one connection and notes the time from when the call was due to its answer; and
// the attackers, goroutines of this process, on the victim's processor. What they do is what tests/server/grpc/flood_test.cpp and
// slow_test.cpp do, again and again: whoever is cut off connects anew. When it is over the server's /metrics must have counted the attack,
// and its memory must have been bounded. A peer that is half dead takes a firewall to play, handshakes that trickle take TLS, for which
// this second connection has no client: these two are left to the tests.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <warren/go.h>
#include <warren/net.h>
#include <warren/sync.h>

#include "bench/grpc/child.h"
#include "bench/grpc/plain_client.h"
#include "tests/server/raw_client.h"

namespace {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;
using warren::testing::be32;
using warren::testing::fields;
using warren::testing::message;
using warren::testing::raw_client;

const std::string kEcho = "/helloworld.Greeter/SayHello";

// --- the victim --------------------------------------------------------------------------------------------------------------------------

// HelloRequest and HelloReply with one string of five bytes.
const std::string kMessage = bench::framed("\n\5world");

// A call is sent when it is due, whether those before it are answered or not, so that one long wait is seen by all that were due meanwhile
// and by no other. Above so many at once (the server allows 1000) the next one waits, and that counts.
constexpr size_t kMostAtOnce = 900;

struct one_call {
  clock_type::time_point due;
  int64_t server_cpu;  // of the server up to when it was sent
  size_t bytes = 0;    // of the answer so far
};

int64_t nanoseconds_of(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

std::string quantiles(std::vector<double>& us, const char* prefix) {
  std::sort(us.begin(), us.end());
  const auto at = [&](double share) { return us[static_cast<size_t>(share * static_cast<double>(us.size() - 1))]; };
  char text[200];
  std::snprintf(text, sizeof text, "\"%sp50_us\":%.0f,\"%sp99_us\":%.0f,\"%smax_us\":%.0f", prefix, at(0.5), prefix, at(0.99), prefix,
                us.back());
  return text;
}

int victim(const std::string& address, pid_t server, double seconds) {
  clockid_t cpu;
  if (clock_getcpuclockid(server, &cpu) != 0) throw std::runtime_error("the server's CPU clock cannot be read");
  bench::plain_connection c(address);
  std::printf("connected to %s\n", address.c_str());
  std::fflush(stdout);
  const std::string block = bench::request_block(kEcho, "victim");
  std::vector<one_call> calls;  // number n is on stream 2n + 1
  std::vector<double> us;       // from due to answered
  std::vector<double> cpu_us;   // what the server has used of its processor meanwhile, for whomever
  const auto start = clock_type::now() + 100ms;
  const auto end = start + std::chrono::duration<double>(seconds);
  for (auto due = start; due < end || us.size() < calls.size();) {
    for (; due < end && due <= clock_type::now() && calls.size() - us.size() < kMostAtOnce; due += 1ms) {
      const uint32_t id = c.next_stream();
      bench::put_frame(c.out, bench::kHeaders, bench::kEndHeaders, id, block);
      bench::put_frame(c.out, bench::kData, bench::kEndStream, id, kMessage);
      calls.push_back({due, nanoseconds_of(cpu)});
    }
    c.flush();
    const bool may_send = due < end && calls.size() - us.size() < kMostAtOnce;
    const auto left = may_send ? std::max<std::chrono::nanoseconds>(due - clock_type::now(), 0ns) : std::chrono::nanoseconds(10s);
    pollfd ready{c.fd(), POLLIN, 0};
    const timespec limit{static_cast<time_t>(left.count() / 1'000'000'000), static_cast<long>(left.count() % 1'000'000'000)};
    if (ppoll(&ready, 1, &limit, nullptr) == 0) {
      if (may_send) continue;
      throw std::runtime_error("the second connection was not answered within 10 s");
    }
    c.read([&](uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
      one_call& call = calls.at((stream - 1) / 2);
      if (type == bench::kReset) throw std::runtime_error("a call of the second connection was reset");
      if (type == bench::kData) call.bytes += payload.size();
      if ((flags & bench::kEndStream) == 0) return;
      if (call.bytes != kMessage.size()) throw std::runtime_error("a call of the second connection was answered wrongly");
      us.push_back(std::chrono::duration<double, std::micro>(clock_type::now() - call.due).count());
      cpu_us.push_back(static_cast<double>(nanoseconds_of(cpu) - call.server_cpu) / 1e3);
    });
  }
  std::printf("figures \"calls\":%zu,%s,%s\n", us.size(), quantiles(us, "").c_str(), quantiles(cpu_us, "cpu_").c_str());
  return 0;
}

// --- the attackers -----------------------------------------------------------------------------------------------------------------------

std::atomic<bool> over{false};

void stay() {
  while (!over) warren::sleep(20ms);
}

// What one attacking connection sends until it is cut off: unit after unit, a hundred to a write. At most so many writes: a server that has
// said GOAWAY reads on for a while without looking, and attackers who know that connect anew.
using unit = std::function<std::string(raw_client&)>;
constexpr int kBursts = 150;

void flood(raw_client& c, const unit& one) {
  c.acknowledge = false;
  for (int bursts = 0; bursts < kBursts && !over && !c.write_error; bursts++) {
    std::string burst;
    for (int i = 0; i < 100; i++) burst += one(c);
    c.send(burst);
  }
}

std::string open_stream(raw_client& c, const fields& f, bool end) {
  const auto flags = static_cast<uint8_t>(NGHTTP2_FLAG_END_HEADERS | (end ? NGHTTP2_FLAG_END_STREAM : 0));
  return raw_client::frame_bytes(NGHTTP2_HEADERS, flags, c.next_id(), c.encode(f));
}
std::string open_stream(raw_client& c, bool end = false) { return open_stream(c, raw_client::request_fields(kEcho), end); }
std::string on_last_stream(raw_client& c, uint8_t type, std::string_view payload) {
  const int32_t next = c.next_id();
  return raw_client::frame_bytes(type, 0, next - 2, payload);
}

std::string setting(uint16_t id, uint32_t value) { return std::string{static_cast<char>(id >> 8), static_cast<char>(id)} + be32(value); }

std::string hello(size_t size) { return bench::string_field(1, std::string(size, 'n')); }

// 16 MiB of nothing, packed: four times what is taken.
const std::string& gzip_bomb() {
  static const std::string bomb = [] {
    std::string out(1 << 20, '\0');
    const std::string zeros(1 << 20, '\0');
    z_stream z{};
    deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    z.next_out = reinterpret_cast<Bytef*>(out.data());
    z.avail_out = static_cast<uInt>(out.size());
    for (int i = 0; i < 16; i++) {
      z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(zeros.data()));
      z.avail_in = static_cast<uInt>(zeros.size());
      deflate(&z, i == 15 ? Z_FINISH : Z_NO_FLUSH);
    }
    out.resize(z.total_out);
    deflateEnd(&z);
    return out;
  }();
  return bomb;
}

// Samples of /metrics by which an attack is seen.
const std::string kAbuse = R"(warren_grpc_connections_ended_total{reason="abuse"})";
const std::string kProtocolError = R"(warren_grpc_connections_ended_total{reason="protocol_error"})";
const std::string kAccepted = "warren_grpc_connections_accepted_total";
const std::string kRejected = "warren_grpc_calls_rejected_total";
const std::string kStarted = R"(grpc_server_started_total{grpc_type="unary",grpc_service="helloworld.Greeter",grpc_method="SayHello"})";
const std::string kTooLarge =
    R"(grpc_server_handled_total{grpc_type="unary",grpc_service="helloworld.Greeter",grpc_method="SayHello",grpc_code="ResourceExhausted"})";

struct attack {
  const char* name;
  int connections;  // at a time
  bool greet;
  std::function<void(raw_client&)> run;
  std::string counter = kAbuse;
  rlim_t descriptors = 0;  // the server's limit of them from when the second connection is there; 0: as it is
};

attack flooding(const char* name, unit one, std::string counter = kAbuse) {
  return {name, 4, true, [one = std::move(one)](raw_client& c) { flood(c, one); }, std::move(counter)};
}

std::vector<attack> attacks() {
  using rc = raw_client;
  std::vector<attack> all;
  all.push_back({"none", 0, true, {}, kStarted});
  all.push_back(flooding("window_updates", [](rc&) { return rc::frame_bytes(NGHTTP2_WINDOW_UPDATE, 0, 0, be32(1)); }));
  all.push_back(flooding("priorities", [](rc&) { return rc::frame_bytes(NGHTTP2_PRIORITY, 0, 101, std::string("\0\0\0\0\1", 5)); }));
  all.push_back(flooding("pings", [](rc&) { return rc::frame_bytes(NGHTTP2_PING, 0, 0, "12345678"); }));
  all.push_back(flooding("settings", [](rc&) { return rc::frame_bytes(NGHTTP2_SETTINGS, 0, 0, ""); }));
  all.push_back({"empty_data", 4, true, [](rc& c) {
                   c.send(open_stream(c));
                   flood(c, [](rc&) { return rc::frame_bytes(NGHTTP2_DATA, 0, 1, ""); });
                 }});
  all.push_back({"tiny_data", 4, true, [](rc& c) {
                   c.send(open_stream(c) + rc::frame_bytes(NGHTTP2_DATA, 0, 1, std::string("\0\0\1\0\0", 5)));
                   flood(c, [](rc&) { return rc::frame_bytes(NGHTTP2_DATA, 0, 1, "x"); });
                 }});
  all.push_back(flooding("rapid_reset", [](rc& c) {
    const std::string open = open_stream(c);
    return open + on_last_stream(c, NGHTTP2_RST_STREAM, be32(NGHTTP2_CANCEL));
  }));
  all.push_back(flooding("made_you_reset", [](rc& c) { return open_stream(c, rc::with(rc::request_fields(kEcho), "te", "gzip"), true); }));
  all.push_back(flooding(
      "reset_by_zero_window_update",
      [](rc& c) {
        const std::string open = open_stream(c);
        return open + on_last_stream(c, NGHTTP2_WINDOW_UPDATE, be32(0));
      },
      kProtocolError));
  all.push_back(flooding("reset_by_window_overflow", [](rc& c) {
    const std::string open = open_stream(c);
    return open + on_last_stream(c, NGHTTP2_WINDOW_UPDATE, be32(0x7fffffff));
  }));
  all.push_back(flooding(
      "data_after_the_end",
      [](rc& c) {
        const std::string open = open_stream(c, true);
        return open + on_last_stream(c, NGHTTP2_DATA, message(std::string(300, 'y')));
      },
      kProtocolError));
  all.push_back(flooding("hpack_bombs", [](rc& c) {
    fields f = rc::request_fields(kEcho);
    f.emplace_back("x-bomb", std::string(3000, 'b'));
    const std::string block = c.encode(f) + std::string(10'000, static_cast<char>(0x80 | 62));
    return rc::frame_bytes(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, c.next_id(), block);
  }));
  all.push_back(flooding("more_streams_than_allowed", [](rc& c) { return open_stream(c); }));
  all.push_back({"continuations", 4, true, [](rc& c) {
                   c.send_frame(NGHTTP2_HEADERS, 0, 1, c.encode(rc::request_fields(kEcho)));
                   flood(c, [](rc&) { return rc::frame_bytes(NGHTTP2_CONTINUATION, 0, 1, ""); });
                 }});
  all.push_back({"broken_frames", 4, true,
                 [](rc& c) {
                   c.send(rc::frame_bytes(NGHTTP2_PING, 0, 0, "short"));
                   c.wait_closed();
                 },
                 kProtocolError});
  all.push_back({"connections", 16, false, [](rc&) {}, kAccepted});
  all.push_back({"no_descriptors", 200, true, [](rc&) { stay(); }, "warren_grpc_accept_errors_total", 64});
  all.push_back({"calls", 4, true,
                 [](rc& c) {
                   // No attack but a crowd: a thousand calls at once on each connection, again and again.
                   while (!over && !c.write_error && !c.closed) {
                     std::string burst;
                     int32_t last = 0;
                     for (int i = 0; i < 900; i++) {
                       burst += open_stream(c);
                       last = c.next_id() - 2;
                       burst += rc::frame_bytes(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, last, kMessage);
                     }
                     c.send(burst);
                     c.wait(last);
                     c.replies.clear();
                   }
                 },
                 kStarted});
  all.push_back(
      flooding("paths_without_slash", [](rc& c) { return open_stream(c, rc::request_fields("helloworld.Greeter/SayHello"), true); }));
  all.push_back(flooding(
      "bad_base64", [](rc& c) { return open_stream(c, rc::with(rc::request_fields(kEcho), "x-bin", "!!!!"), true); }, kRejected));
  all.push_back(flooding(
      "prefixes_of_4_gb",
      [](rc& c) {
        const std::string open = open_stream(c);
        return open + on_last_stream(c, NGHTTP2_DATA, std::string("\0\xff\xff\xff\xff", 5));
      },
      kTooLarge));
  all.push_back({"gzip_bombs", 4, true,
                 [](rc& c) {
                   const std::string m = message(gzip_bomb(), 1);
                   while (!over && !c.write_error && !c.closed) {
                     const int32_t id = c.begin(rc::with(rc::request_fields(kEcho), "grpc-encoding", "gzip"));
                     for (size_t at = 0; at < m.size(); at += 16'384) c.data(id, m.substr(at, 16'384), at + 16'384 >= m.size());
                     c.wait(id);
                     c.replies.clear();
                   }
                 },
                 kTooLarge});
  all.push_back({"slow_preface", 200, false,
                 [](rc& c) {
                   for (const char byte : std::string(NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN - 1)) {
                     if (over || c.write_error) return;
                     c.send(std::string(1, byte));
                     warren::sleep(50ms);
                   }
                   stay();
                 },
                 kAccepted});
  all.push_back({"slow_headers", 200, true,
                 [](rc& c) {
                   const int32_t id = c.next_id();
                   c.send_frame(NGHTTP2_HEADERS, 0, id, c.encode(rc::request_fields(kEcho)));
                   const std::string more = c.encode({{"x-long", std::string(12'000, 'l')}});
                   const std::string f = rc::frame_bytes(NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, id, more);
                   c.send(f.substr(0, 9));
                   for (size_t i = 9; i + 1 < f.size() && !c.write_error && !over; i++) {
                     c.send(f.substr(i, 1));
                     warren::sleep(10ms);
                   }
                 },
                 kAccepted});
  all.push_back({"slow_bodies", 50, true,
                 [](rc& c) {
                   const std::string m = message(std::string(4000, 'x'));
                   std::vector<int32_t> ids;
                   for (int i = 0; i < 100; i++) ids.push_back(c.begin(rc::request_fields(kEcho)));
                   for (size_t at = 0; at + 40 < m.size() && !over && !c.write_error; at += 40) {
                     for (const int32_t id : ids) c.data(id, m.substr(at, 40), false);
                     warren::sleep(200ms);
                   }
                   stay();
                 },
                 kStarted});
  all.push_back({"zero_windows", 50, true,
                 [](rc& c) {
                   c.send_frame(NGHTTP2_SETTINGS, 0, 0, setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0));
                   for (int i = 0; i < 20; i++) {
                     const int32_t id = c.begin(rc::request_fields(kEcho));
                     const std::string m = message(hello(60'000));
                     for (size_t at = 0; at < m.size(); at += 16'384) c.data(id, m.substr(at, 16'384), at + 16'384 >= m.size());
                   }
                   stay();
                 },
                 kStarted});
  all.push_back({"tiny_windows", 4, true,
                 [](rc& c) {
                   c.send_frame(NGHTTP2_SETTINGS, 0, 0, setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1));
                   while (!over && !c.closed && !c.write_error) {
                     const int32_t id = c.start(kEcho, hello(3000));
                     for (int i = 0; i < 3010 && !over && !c.write_error; i += 10) {
                       std::string ten;
                       for (int n = 0; n < 10; n++) ten += rc::frame_bytes(NGHTTP2_WINDOW_UPDATE, 0, id, be32(1));
                       c.send(ten);
                     }
                     c.wait(id);
                     c.replies.clear();
                   }
                 },
                 kStarted});
  all.push_back({"never_reads", 20, true,
                 [](rc& c) {
                   flood(c, [](rc& r) {
                     const std::string open = open_stream(r);
                     const int32_t id = r.next_id() - 2;
                     return open + rc::frame_bytes(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, id, message(hello(200)));
                   });
                 },
                 kStarted});
  return all;
}

// Attacks until it is over. Returns how many connections that took.
uint64_t attack_until_over(const attack& a, const std::string& address) {
  std::atomic<uint64_t> made{0};
  warren::run([&] {
    warren::wait_group all;
    for (int i = 0; i < a.connections; i++) {
      all.go([&] {
        while (!over) {
          asio::error_code ec;
          auto socket = warren::dial_stream(address, ec);
          if (ec) {
            warren::sleep(1ms);
            continue;
          }
          made++;
          raw_client c(std::move(socket), a.greet);
          c.socket().read_deadline(1s);
          c.socket().write_deadline(1s);
          a.run(c);
        }
      });
    }
    all.wait();
    while (!over) warren::sleep(20ms);
  });
  return made;
}

// --- what the server has counted ---------------------------------------------------------------------------------------------------------

// GET /metrics from "127.0.0.1:PORT". The admin port serves a request and closes; after no_descriptors it may first have to recover.
std::string scrape(const std::string& admin) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::stoi(admin.substr(admin.rfind(':') + 1))));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval patience{10, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  static constexpr std::string_view ask = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  std::string page;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0 && send(fd, ask.data(), ask.size(), MSG_NOSIGNAL) > 0) {
    char block[64 << 10];
    for (ssize_t n; (n = recv(fd, block, sizeof block, 0)) > 0;) page.append(block, static_cast<size_t>(n));
  }
  close(fd);
  return page;
}

// Throws std::runtime_error if the page has no such sample: it was renamed, or the page did not come.
long long sample(const std::string& page, const std::string& name) {
  const size_t at = page.find("\n" + name + " ");
  if (at == std::string::npos) throw std::runtime_error("/metrics has no sample " + name);
  return std::stoll(page.substr(at + name.size() + 2));
}

// --- one line each -----------------------------------------------------------------------------------------------------------------------

void measure(const attack& a, const std::string& here, int server_cpu, int load_cpu, double seconds) {
  bench::child server({here + "/greeter_server", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, server_cpu);
  const std::string address = server.wait_for_line("listening on ", 10'000);
  const std::string admin = server.wait_for_line("admin on ", 10'000);
  if (address.empty() || admin.empty())
    throw std::runtime_error("greeter_server printed no \"listening on\" line within 10 s; run it by hand");
  const auto cpu_before = static_cast<double>(server.cpu_nanoseconds());
  const auto queued_before = static_cast<double>(server.queued_nanoseconds());
  bench::child second(
      {here + "/bench_attacks", "--victim", address, "--server-pid", std::to_string(server.pid()), "--seconds", std::to_string(seconds)},
      load_cpu);
  if (second.wait_for_line("connected to ", 10'000).empty())
    throw std::runtime_error(std::string(a.name) + ": the second connection failed; see above");
  rlimit before{};
  if (a.descriptors != 0) {
    bool done = prlimit(server.pid(), RLIMIT_NOFILE, nullptr, &before) == 0;
    const rlimit few{a.descriptors, before.rlim_max};
    done = done && prlimit(server.pid(), RLIMIT_NOFILE, &few, nullptr) == 0;
    if (!done) throw std::system_error(errno, std::generic_category(), "limit the server's descriptors");
  }
  over = false;
  std::string figures;
  // The attackers yield to the second connection: it is to measure the server, not how busy its own processor is.
  setpriority(PRIO_PROCESS, 0, 19);
  std::thread watch([&] {
    figures = second.wait_for_line("figures ", static_cast<int>(seconds * 1000) + 60'000);
    over = true;
  });
  const uint64_t connections = attack_until_over(a, address);
  watch.join();
  const double share = (static_cast<double>(server.cpu_nanoseconds()) - cpu_before) / 1e9 / seconds;
  const double queued = (static_cast<double>(server.queued_nanoseconds()) - queued_before) / 1e9 / seconds;
  const auto rss_kb = server.peak_rss_kb();
  if (a.descriptors != 0 && prlimit(server.pid(), RLIMIT_NOFILE, &before, nullptr) != 0) {
    throw std::system_error(errno, std::generic_category(), "give the server its descriptors back");
  }
  const long long counted = sample(scrape(admin), a.counter);
  const int ended = second.wait();
  if (figures.empty() || ended != 0) throw std::runtime_error(std::string(a.name) + ": the second connection failed; see above");
  if (const int status = server.stop(); status != 0) {
    throw std::runtime_error(std::string(a.name) + ": greeter_server ended with status " + std::to_string(status));
  }
  std::string counter = a.counter;
  for (size_t at = 0; (at = counter.find('"', at)) != std::string::npos; at += 2) counter.insert(at, "\\");
  std::printf(
      "{\"attack\":\"%s\",%s,\"attackers\":%d,\"connections\":%llu,\"server_cpu\":%.2f,\"server_queued\":%.2f,\"rss_kb\":%lld,"
      "\"counter\":\"%s\",\"counted\":%lld}\n",
      a.name, figures.c_str(), a.connections, static_cast<unsigned long long>(connections), share, queued, static_cast<long long>(rss_kb),
      counter.c_str(), counted);
  std::fflush(stdout);
}

constexpr const char* kUsage =
    "usage: bench_attacks [--seconds S] [ATTACK…]\n"
    "  --seconds  time of each attack (3)\n"
    "  --list     print the names of the attacks\n"
    "Prints one JSON object for each: what a second connection, with a call due every millisecond, waited for its answers;\n"
    "cpu_… is what the server used of its processor between a call and its answer, which others on the machine do not change;\n"
    "server_cpu and server_queued are processors that the server used, and would have used if nobody else had;\n"
    "counted is the sample of the server's /metrics that the attack moves.\n";

int run(int argc, char** argv) {
  double seconds = 3;
  std::string of_victim;
  pid_t server_pid = 0;
  std::vector<std::string> names;
  for (int i = 1; i < argc; i++) {
    const std::string flag = argv[i];
    const bool has_value = i + 1 < argc;
    if (flag == "--help") {
      std::fputs(kUsage, stdout);
      return 0;
    }
    if (flag == "--list") {
      for (const attack& a : attacks()) std::puts(a.name);
      return 0;
    }
    if (flag == "--seconds" && has_value) {
      seconds = std::atof(argv[++i]);
      if (!(seconds > 0)) throw std::invalid_argument("--seconds " + std::string(argv[i]) + ": not a positive number");
    } else if (flag == "--server-pid" && has_value) {
      server_pid = std::atoi(argv[++i]);
    } else if (flag == "--victim" && has_value) {
      of_victim = argv[++i];
    } else if (flag.starts_with("-")) {
      throw std::invalid_argument("flag " + flag + " is unknown or has no value; see --help");
    } else {
      names.push_back(flag);
    }
  }
  if (!of_victim.empty()) return victim(of_victim, server_pid, seconds);

  const std::string here = std::filesystem::read_symlink("/proc/self/exe").parent_path().string();
  const auto [server_cpu, load_cpu] = bench::two_processors();
  const bench::pinned pin(load_cpu);  // the attackers' threads are not made yet and inherit this

  const std::vector<attack> all = attacks();
  for (const std::string& name : names) {
    if (std::none_of(all.begin(), all.end(), [&](const attack& a) { return a.name == name; })) {
      throw std::invalid_argument(name + ": no such attack; see --list");
    }
  }
  for (const attack& a : all) {
    if (names.empty() || std::find(names.begin(), names.end(), a.name) != names.end()) measure(a, here, server_cpu, load_cpu, seconds);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::invalid_argument& e) {
    std::fprintf(stderr, "bench_attacks: %s\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_attacks: %s\n", e.what());
    return 1;
  }
}

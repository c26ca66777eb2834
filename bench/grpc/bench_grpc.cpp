// bench_grpc: gRPC calls per CPU second of the server, ours against gRPC C++, grpc-go, and nghttp2 with nothing above it.
//
// The load generator and the server share a small machine, so calls per second say nothing: whichever is slower decides. What is compared
// is how much processor time the server process used for a known number of calls. One processor is the server's, another the load's. For
// each scenario, round and server, in that nesting, so that neighbours in time are what is compared:
//   start the server; warm it up, which also says how many calls fill the wanted time; read its CPU clock; make exactly that many calls;
//   read the clock again; make a tenth as many with their times written down; read the peak memory; end it by SIGTERM.
// Three scenarios differ. collected measures warren alone, once as it is and once with its collector off (GOGC=off), with a handler that
// keeps each request for a while; a third line has the ratio. open_loop first finds the peak of every peer and then offers half of the
// lowest to each server. idle connects, makes one call on each connection, and reads how much the resident memory has grown.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bench/grpc/chat.h"
#include "bench/grpc/child.h"
#include "bench/grpc/load.h"
#include "bench/grpc/plain_client.h"
#include "bench/grpc/shipment.h"

namespace {

// Where a server is measured.
enum class part {
  everywhere,
  waiting,    // where calls wait: what costs a thread for each call
  unary,      // where a call is one message that comes back: what knows no method
  collected,  // where handlers make collected objects
};

struct server {
  const char* name;
  const char* path;       // from the directory of this program
  const char* load_path;  // the same, serves warren.bench.Load
  std::vector<std::string> flags;
  part takes;
};

const server kServers[] = {
    {"warren", "greeter_server", "bench_load_server", {"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, part::everywhere},
    {"warren_gc_off", "greeter_server", "bench_load_server", {"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, part::collected},
    {"grpc_cpp_callback", "peers/grpc_cpp_callback", "peers/grpc_cpp_callback", {"--listen", "127.0.0.1:0"}, part::everywhere},
    {"grpc_cpp_async", "peers/grpc_cpp_async", "peers/grpc_cpp_async", {"--listen", "127.0.0.1:0"}, part::everywhere},
    {"grpc_cpp_sync", "peers/grpc_cpp_sync", "peers/grpc_cpp_sync", {"--listen", "127.0.0.1:0"}, part::waiting},
    {"grpc_go", "peers/grpc_go", "peers/grpc_go", {"--listen", "127.0.0.1:0"}, part::everywhere},
    {"nghttp2_echo", "peers/nghttp2_echo", "peers/nghttp2_echo", {"--listen", "127.0.0.1:0"}, part::unary},
};
constexpr const char* kServerNames = "warren,warren_gc_off,grpc_cpp_callback,grpc_cpp_async,grpc_cpp_sync,grpc_go,nghttp2_echo";

enum class kind { hello, complex, tls, sleep, stream, chat, collected, open_loop, idle };

struct scenario {
  const char* name;
  kind what;
  int connections;
  int streams;
  size_t name_bytes = 5;  // of HelloRequest
};

constexpr int kStreamMessages = 5000;
constexpr int kSleepMilliseconds = 5;
constexpr int kIdleConnections = 10'000;
constexpr int kIdleConnectionsQuick = 500;

const scenario kScenarios[] = {
    {"10x100", kind::hello, 10, 100},
    {"10x100_100b", kind::hello, 10, 100, 100},
    {"10x100_10k", kind::hello, 10, 100, 10 << 10},
    {"10x10", kind::hello, 10, 10},
    {"50x20_100b", kind::hello, 50, 20, 100},
    {"50x20_complex", kind::complex, 50, 20},
    {"1x1", kind::hello, 1, 1},
    {"4x1_1m", kind::hello, 4, 1, 1 << 20},
    {"chat_10x10", kind::chat, 10, 10},
    {"stream_5000", kind::stream, 10, 1},
    {"tls_10x100", kind::tls, 10, 100},
    {"sleep_10000", kind::sleep, 100, 100},
    {"collected_10x100", kind::collected, 10, 100, 100},
    {"open_loop", kind::open_loop, 10, 100},
    {"idle_10000", kind::idle, kIdleConnections, 1},
};

bool takes_part(const server& which, const scenario& s) {
  if (s.what == kind::collected) return std::string(which.name).starts_with("warren");
  switch (which.takes) {
    case part::everywhere: return true;
    case part::waiting: return s.what == kind::sleep;
    case part::unary: return s.what == kind::hello;
    case part::collected: return false;
  }
  return false;
}

// In the order in which they are printed.
using figures = std::vector<std::pair<std::string, double>>;

struct options {
  int rounds = 5;
  double seconds = 2;
  std::string servers;    // comma-separated names; empty: all that are built
  std::string scenarios;  // likewise
  bool each_round = false;
  bool quick = false;
};

constexpr const char* kUsage =
    "usage: bench_grpc [--rounds N] [--seconds S] [--servers NAME,...] [--scenarios NAME,...] [--each-round] [--quick]\n"
    "  --rounds      times every server is measured; the figures printed are medians (5)\n"
    "  --seconds     measured load per round, scenario and server (2)\n"
    "  --servers     of warren,warren_gc_off,grpc_cpp_callback,grpc_cpp_async,grpc_cpp_sync,grpc_go,nghttp2_echo (those that are built;\n"
    "                sync: where calls wait; nghttp2_echo: where SayHello is called without TLS; warren_gc_off: in collected_10x100)\n"
    "  --scenarios   of those that --list names (all)\n"
    "  --list        print the names of the scenarios\n"
    "  --each-round  print every round's figures too, with its number\n"
    "  --quick       one round of 0.3 seconds: shows that it works, not how fast\n";

// Is name in the comma-separated list? An empty list holds everything.
bool listed(const std::string& names, const std::string& name) {
  return names.empty() || ("," + names + ",").find("," + name + ",") != std::string::npos;
}

// Throws unless every name of the list is one of `known`.
void check_names(const char* flag, const std::string& names, const std::string& known) {
  std::istringstream each(names);
  for (std::string name; std::getline(each, name, ',');) {
    if (!listed(known, name)) throw std::invalid_argument(std::string(flag) + " " + name + ": not known; choose of " + known);
  }
}

options parse(int argc, char** argv) {
  options o;
  for (int i = 1; i < argc; i++) {
    const std::string flag = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 == argc) throw std::invalid_argument("flag " + flag + " has no value; see --help");
      return argv[++i];
    };
    const auto number = [&] {
      const std::string text = value();
      char* end;
      const double n = std::strtod(text.c_str(), &end);
      if (*end != '\0' || !(n > 0)) throw std::invalid_argument(flag + " " + text + ": not a positive number; see --help");
      return n;
    };
    if (flag == "--help") {
      std::fputs(kUsage, stdout);
      std::exit(0);
    } else if (flag == "--list") {
      for (const scenario& each : kScenarios) std::puts(each.name);
      std::exit(0);
    } else if (flag == "--rounds") {
      o.rounds = std::max(1, static_cast<int>(number()));
    } else if (flag == "--seconds") {
      o.seconds = number();
    } else if (flag == "--servers") {
      o.servers = value();
    } else if (flag == "--scenarios") {
      o.scenarios = value();
    } else if (flag == "--each-round") {
      o.each_round = true;
    } else if (flag == "--quick") {
      o.quick = true;
      o.rounds = 1;
      o.seconds = 0.3;
    } else {
      throw std::invalid_argument("flag " + flag + " is unknown; see --help");
    }
  }
  return o;
}

// A message whose field 1, a string or bytes, has so many bytes.
std::string field_1(size_t size) { return bench::string_field(1, size == 5 ? std::string("world") : std::string(size, 'n')); }

bench::request request_of(const scenario& s) {
  bench::request r;
  r.connections = s.connections;
  r.streams = s.streams;
  r.tls = s.what == kind::tls;
  if (s.what == kind::sleep) {
    r.path = "/warren.bench.Load/Sleep";
    r.message = bench::number_field(2, kSleepMilliseconds);
  } else if (s.what == kind::stream) {
    r.path = "/warren.bench.Load/Stream";
    r.message = field_1(5) + bench::number_field(3, kStreamMessages);
  } else if (s.what == kind::complex) {
    r.path = "/warren.bench.Shipping/Ship";
    r.message = bench::shipment_request();
  } else if (s.what == kind::collected) {
    r.path = "/warren.bench.Load/Keep";
    r.message = field_1(s.name_bytes);
  } else {
    r.path = "/helloworld.Greeter/SayHello";
    r.message = field_1(s.name_bytes);
  }
  // Every server sends back what it got.
  r.reply_bytes = static_cast<int64_t>(5 + r.message.size()) * (s.what == kind::stream ? kStreamMessages : 1);
  return r;
}

// A key and a certificate for 127.0.0.1 in a directory of their own.
class certificate {
 public:
  certificate() {
    std::string pattern = (std::filesystem::temp_directory_path() / "bench_grpc.XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern + ": cannot be made; set TMPDIR");
    directory_ = pattern;
    const std::string command =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1 -addext "
        "subjectAltName=IP:127.0.0.1 -keyout " +
        key() + " -out " + chain() + " 2>" + directory_ + "/log";
    if (std::system(command.c_str()) != 0) throw std::runtime_error("openssl req failed; see " + directory_ + "/log");
  }
  ~certificate() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  certificate(const certificate&) = delete;
  certificate& operator=(const certificate&) = delete;
  std::string chain() const { return directory_ + "/chain.pem"; }
  std::string key() const { return directory_ + "/key.pem"; }

 private:
  std::string directory_;
};

// A server under measurement, on the first processor, ready.
class measured {
 public:
  measured(const server& which, const std::string& path, const scenario& s) : which_(which) {
    std::vector<std::string> command{path};
    command.insert(command.end(), which.flags.begin(), which.flags.end());
    if (s.what == kind::tls) {
      static const certificate made;
      command.insert(command.end(), {"--tls-cert", made.chain(), "--tls-key", made.key()});
    }
    if (s.what == kind::sleep && std::string(which.name) == "grpc_cpp_async") {
      command.insert(command.end(), {"--sleepers", std::to_string(s.connections * s.streams)});
    }
    const bool without_collector = which.takes == part::collected;
    if (without_collector) setenv("GOGC", "off", 1);
    process_ = std::make_unique<bench::child>(command, bench::two_processors().first);
    if (without_collector) unsetenv("GOGC");
    address_ = process_->wait_for_line("listening on ", 10'000);
    if (address_.empty())
      throw std::runtime_error(path + ": printed no \"listening on\" line within 10 s, or ended before; run it by hand");
  }
  ~measured() {
    if (const int status = process_->stop(); status != 0) {
      std::fprintf(stderr, "bench_grpc: %s ended with status %d at SIGTERM, expected 0; its figures stand\n", which_.name, status);
    }
  }
  const std::string& address() const { return address_; }
  bench::child& process() { return *process_; }

 private:
  const server& which_;
  std::unique_ptr<bench::child> process_;
  std::string address_;
};

figures figures_of(double rpcs_per_cpu_second, const bench::latency& latency, double rss_kb) {
  return {{"rpcs_per_cpu_second", rpcs_per_cpu_second}, {"p50_us", latency.p50_us}, {"p99_us", latency.p99_us}, {"rss_kb", rss_kb}};
}

figures measure_calls(measured& m, const scenario& s, double seconds) {
  bench::load load(m.address(), bench::two_processors().second, request_of(s));
  const double rate = load.warm_up(500);
  const int64_t in_flight = int64_t{s.connections} * s.streams;
  const auto calls = std::max<int64_t>(static_cast<int64_t>(rate * seconds), (s.what == kind::stream ? 1 : 10) * in_flight);
  const int64_t cpu_before = m.process().cpu_nanoseconds();
  load.calls(calls);
  const int64_t cpu = m.process().cpu_nanoseconds() - cpu_before;
  const bench::latency latency = load.timed_calls(std::max<int64_t>(calls / 10, (s.what == kind::stream ? 1 : 10) * in_flight));
  const double each = s.what == kind::stream ? kStreamMessages : 1;
  return figures_of(each * static_cast<double>(calls) * 1e9 / static_cast<double>(cpu), latency,
                    static_cast<double>(m.process().peak_rss_kb()));
}

figures measure_chat(measured& m, const scenario& s, double seconds) {
  const bench::pinned pin(bench::two_processors().second);
  bench::chat chat(m.address(), "/warren.bench.Load/Chat", field_1(5), s.connections, s.streams);
  const double rate = chat.run_for(std::chrono::milliseconds(500));
  const int64_t in_flight = int64_t{s.connections} * s.streams;
  const auto calls = std::max<int64_t>(static_cast<int64_t>(rate * seconds), 10 * in_flight);
  const int64_t cpu_before = m.process().cpu_nanoseconds();
  chat.run(calls);
  const int64_t cpu = m.process().cpu_nanoseconds() - cpu_before;
  std::vector<int64_t> us;
  chat.run(std::max<int64_t>(calls / 10, 10 * in_flight), &us);
  return figures_of(static_cast<double>(calls) * 1e9 / static_cast<double>(cpu), bench::of_times(us),
                    static_cast<double>(m.process().peak_rss_kb()));
}

figures measure_open_loop(measured& m, const scenario& s, double seconds, double rate) {
  bench::load load(m.address(), bench::two_processors().second, request_of(s));
  load.warm_up(300);
  const auto calls = std::max<int64_t>(static_cast<int64_t>(rate * seconds), 100);
  const int64_t cpu_before = m.process().cpu_nanoseconds();
  const bench::latency latency = load.timed_calls_at(rate, calls);
  const int64_t cpu = m.process().cpu_nanoseconds() - cpu_before;
  figures f =
      figures_of(static_cast<double>(calls) * 1e9 / static_cast<double>(cpu), latency, static_cast<double>(m.process().peak_rss_kb()));
  f.emplace_back("offered_per_second", rate);
  return f;
}

// One call on each of many connections, which then stay.
figures measure_idle(measured& m, const scenario& s) {
  const bench::pinned pin(bench::two_processors().second);
  const bench::request r = request_of(s);
  const std::string block = bench::request_block(r.path, "bench");
  const auto call_on = [&](bench::plain_connection& c) {
    const uint32_t id = c.next_stream();
    bench::put_frame(c.out, bench::kHeaders, bench::kEndHeaders, id, block);
    bench::put_frame(c.out, bench::kData, bench::kEndStream, id, bench::framed(r.message));
    c.flush();
    for (bool ended = false; !ended;) {
      c.read([&](uint8_t type, uint8_t flags, uint32_t, std::string_view) {
        if (type == bench::kReset) throw std::runtime_error("idle: a call was reset");
        ended |= (flags & bench::kEndStream) != 0;
      });
    }
    if (!c.out.empty()) c.flush();
  };
  bench::plain_connection first(m.address());  // what is made once is made
  for (int i = 0; i < 100; i++) call_on(first);
  const int64_t before = m.process().rss_kb();
  std::vector<std::unique_ptr<bench::plain_connection>> idle;
  for (int i = 0; i < s.connections; i++) {
    idle.push_back(std::make_unique<bench::plain_connection>(m.address()));
    call_on(*idle.back());
  }
  // Collectors and allocators give back what they give back by themselves.
  usleep(3'000'000);
  const int64_t grown = m.process().rss_kb() - before;
  return {{"bytes_per_connection", static_cast<double>(grown) * 1024 / s.connections},
          {"rss_kb", static_cast<double>(m.process().peak_rss_kb())}};
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

figures medians(const std::vector<figures>& rounds) {
  figures all = rounds.front();
  for (size_t i = 0; i < all.size(); i++) {
    std::vector<double> values;
    for (const figures& f : rounds) values.push_back(f[i].second);
    all[i].second = median(values);
  }
  return all;
}

void print(const std::string& scenario, const char* name, const figures& f, int round) {
  std::printf("{\"scenario\":\"%s\",\"server\":\"%s\"", scenario.c_str(), name);
  for (const auto& [key, value] : f) std::printf(",\"%s\":%.0f", key.c_str(), value);
  if (round > 0) std::printf(",\"round\":%d", round);
  std::puts("}");
  std::fflush(stdout);
}

// Descriptors for the connections of this process and, inherited, of the servers.
void allow_descriptors(int connections) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  const auto needed = static_cast<rlim_t>(connections + 200);
  if (files.rlim_cur >= needed) return;
  if (files.rlim_max < needed) {
    throw std::runtime_error(std::to_string(connections) + " connections need " + std::to_string(needed) +
                             " descriptors, the hard limit is " + std::to_string(files.rlim_max) + "; raise it (ulimit -Hn)");
  }
  files.rlim_cur = needed;
  setrlimit(RLIMIT_NOFILE, &files);
}

struct built {
  server which;
  std::string path, load_path;
  const std::string& path_for(const scenario& s) const {
    return s.what == kind::hello || s.what == kind::tls || s.what == kind::open_loop || s.what == kind::idle ? path : load_path;
  }
};

void run_scenario(const scenario& s, const std::vector<built>& servers, const options& o) {
  std::map<std::string, std::vector<figures>> all;
  for (int round = 1; round <= o.rounds; round++) {
    double rate = 0;
    if (s.what == kind::open_loop) {
      for (const built& b : servers) {
        if (std::string(b.which.name) == "warren" && servers.size() > 1) continue;
        measured m(b.which, b.path_for(s), s);
        bench::load load(m.address(), bench::two_processors().second, request_of(s));
        load.warm_up(300);
        const double peak = load.warm_up(static_cast<int>(std::max(300.0, 500 * o.seconds)));
        rate = rate == 0 ? peak / 2 : std::min(rate, peak / 2);
      }
    }
    for (const built& b : servers) {
      measured m(b.which, b.path_for(s), s);
      figures f;
      switch (s.what) {
        case kind::chat: f = measure_chat(m, s, o.seconds); break;
        case kind::open_loop: f = measure_open_loop(m, s, o.seconds, rate); break;
        case kind::idle: f = measure_idle(m, s); break;
        default: f = measure_calls(m, s, o.seconds);
      }
      all[b.which.name].push_back(f);
      if (o.each_round) print(s.name, b.which.name, f, round);
    }
  }
  for (const built& b : servers) print(s.name, b.which.name, medians(all[b.which.name]), 0);
  if (s.what != kind::collected || servers.size() != 2) return;
  // Round by round: the two ran one after the other.
  std::vector<double> ratios;
  for (int round = 0; round < o.rounds; round++)
    ratios.push_back(100 * all["warren"][static_cast<size_t>(round)][0].second /
                     all["warren_gc_off"][static_cast<size_t>(round)][0].second);
  print(s.name, "warren_to_gc_off", {{"percent", median(ratios)}}, 0);
}

int run(const options& o) {
  check_names("--servers", o.servers, kServerNames);
  std::string names;
  for (const scenario& s : kScenarios) {
    if (!names.empty()) names += ',';
    names += s.name;
  }
  check_names("--scenarios", o.scenarios, names);
  const std::filesystem::path here = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  std::vector<built> servers;
  for (const server& s : kServers) {
    if (!listed(o.servers, s.name)) continue;
    if (std::filesystem::exists(here / s.path) && std::filesystem::exists(here / s.load_path)) {
      servers.push_back({s, (here / s.path).string(), (here / s.load_path).string()});
    } else if (o.servers.empty()) {
      std::fprintf(stderr, "bench_grpc: %s is not built, left out; build targets greeter_server, bench_load_server and bench_peers\n",
                   s.name);
    } else {
      throw std::invalid_argument((here / s.path).string() +
                                  " or its load server does not exist; build greeter_server, bench_load_server, bench_peers");
    }
  }
  if (servers.empty()) throw std::invalid_argument("no server is built; build targets greeter_server, bench_load_server and bench_peers");

  for (scenario s : kScenarios) {
    if (!listed(o.scenarios, s.name)) continue;
    if (s.what == kind::idle) {
      if (o.quick) s.connections = kIdleConnectionsQuick;
      allow_descriptors(s.connections);
    }
    std::vector<built> some;
    for (const built& b : servers) {
      if (takes_part(b.which, s)) some.push_back(b);
    }
    if (!some.empty()) run_scenario(s, some, o);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(parse(argc, argv));
  } catch (const std::invalid_argument& e) {
    std::fprintf(stderr, "bench_grpc: %s\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_grpc: %s\n", e.what());
    return 1;
  }
}

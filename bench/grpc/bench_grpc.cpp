// bench_grpc: unary gRPC calls per CPU second of the server, ours against gRPC C++ and grpc-go.
//
// The load generator and the server share a small machine, so calls per second say nothing: whichever is slower decides. What is compared
// is how much processor time the server process used for a known number of calls. One processor is the server's, another the load's. For
// each scenario, round and server, in that nesting, so that neighbours in time are what is compared:
//   start the server; warm it up, which also says how many calls fill the wanted time; read its CPU clock; make exactly that many calls;
//   read the clock again; make a tenth as many with their times written down; read the peak memory; end it by SIGTERM.
#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bench/grpc/child.h"
#include "bench/grpc/load.h"

namespace {

struct server {
  const char* name;
  const char* path;  // from the directory of this program
  std::vector<std::string> flags;
};

const server kServers[] = {
    {"warren", "greeter_server", {"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}},
    {"grpc_cpp_callback", "peers/grpc_cpp_callback", {"--listen", "127.0.0.1:0"}},
    {"grpc_cpp_async", "peers/grpc_cpp_async", {"--listen", "127.0.0.1:0"}},
    {"grpc_go", "peers/grpc_go", {"--listen", "127.0.0.1:0"}},
};

const bench::scenario kScenarios[] = {{10, 100}, {10, 10}, {1, 1}};

struct figures {
  double rpcs_per_cpu_second;
  double p50_us;
  double p99_us;
  double rss_kb;
};

struct options {
  int rounds = 5;
  double seconds = 2;
  std::string servers;    // comma-separated names; empty: all that are built
  std::string scenarios;  // likewise
  bool each_round = false;
};

constexpr const char* kUsage =
    "usage: bench_grpc [--rounds N] [--seconds S] [--servers NAME,...] [--scenarios CONNECTIONSxSTREAMS,...] [--each-round] [--quick]\n"
    "  --rounds      times every server is measured; the figures printed are medians (5)\n"
    "  --seconds     measured load per round, scenario and server (2)\n"
    "  --servers     of warren,grpc_cpp_callback,grpc_cpp_async,grpc_go (those that are built)\n"
    "  --scenarios   of 10x100,10x10,1x1 (all)\n"
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
      o.rounds = 1;
      o.seconds = 0.3;
    } else {
      throw std::invalid_argument("flag " + flag + " is unknown; see --help");
    }
  }
  return o;
}

// The first two processors this process may use: the server's and the load's.
std::pair<int, int> two_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  std::vector<int> found;
  for (int cpu = 0; cpu < CPU_SETSIZE && found.size() < 2; cpu++) {
    if (CPU_ISSET(cpu, &set)) found.push_back(cpu);
  }
  if (found.size() < 2)
    throw std::runtime_error("one processor only: server and load need one each; allow two (taskset, container limits)");
  return {found[0], found[1]};
}

figures measure(const server& which, const std::string& path, const bench::scenario& scenario, double seconds) {
  const auto [server_cpu, load_cpu] = two_processors();
  std::vector<std::string> command{path};
  command.insert(command.end(), which.flags.begin(), which.flags.end());
  bench::child process(command, server_cpu);
  const std::string address = process.wait_for_line("listening on ", 10'000);
  if (address.empty()) throw std::runtime_error(path + ": printed no \"listening on\" line within 10 s, or ended before; run it by hand");

  bench::load load(address, load_cpu);
  const double rate = load.warm_up(scenario, 500);
  const int64_t in_flight = int64_t{scenario.connections} * scenario.streams;
  const auto calls = std::max<int64_t>(static_cast<int64_t>(rate * seconds), 10 * in_flight);

  const int64_t cpu_before = process.cpu_nanoseconds();
  load.calls(scenario, calls);
  const int64_t cpu = process.cpu_nanoseconds() - cpu_before;
  const bench::latency latency = load.timed_calls(scenario, std::max<int64_t>(calls / 10, 10 * in_flight));
  const auto rss_kb = static_cast<double>(process.peak_rss_kb());
  if (const int status = process.stop(); status != 0) {
    std::fprintf(stderr, "bench_grpc: %s ended with status %d at SIGTERM, expected 0; its figures stand\n", which.name, status);
  }
  return {static_cast<double>(calls) * 1e9 / static_cast<double>(cpu), latency.p50_us, latency.p99_us, rss_kb};
}

double median(const std::vector<figures>& rounds, double figures::*which) {
  std::vector<double> values;
  for (const figures& f : rounds) values.push_back(f.*which);
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

void print(const std::string& scenario, const char* name, const figures& f, int round) {
  std::printf("{\"scenario\":\"%s\",\"server\":\"%s\",\"rpcs_per_cpu_second\":%.0f,\"p50_us\":%.0f,\"p99_us\":%.0f,\"rss_kb\":%.0f",
              scenario.c_str(), name, f.rpcs_per_cpu_second, f.p50_us, f.p99_us, f.rss_kb);
  if (round > 0) std::printf(",\"round\":%d", round);
  std::puts("}");
  std::fflush(stdout);
}

int run(const options& o) {
  check_names("--servers", o.servers, "warren,grpc_cpp_callback,grpc_cpp_async,grpc_go");
  check_names("--scenarios", o.scenarios, "10x100,10x10,1x1");
  const std::filesystem::path here = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  std::vector<std::pair<server, std::string>> servers;
  for (const server& s : kServers) {
    if (!listed(o.servers, s.name)) continue;
    const std::filesystem::path path = here / s.path;
    if (std::filesystem::exists(path)) {
      servers.emplace_back(s, path.string());
    } else if (o.servers.empty()) {
      std::fprintf(stderr, "bench_grpc: %s is not built, left out; build target bench_peers (or greeter_server)\n", s.name);
    } else {
      throw std::invalid_argument(path.string() + " does not exist; build target bench_peers (or greeter_server)");
    }
  }
  if (servers.empty()) throw std::invalid_argument("no server is built; build targets greeter_server and bench_peers");
  std::vector<bench::scenario> scenarios;
  for (const bench::scenario& s : kScenarios) {
    if (listed(o.scenarios, s.name())) scenarios.push_back(s);
  }

  for (const bench::scenario& scenario : scenarios) {
    std::map<std::string, std::vector<figures>> measured;
    for (int round = 1; round <= o.rounds; round++) {
      for (const auto& [which, path] : servers) {
        measured[which.name].push_back(measure(which, path, scenario, o.seconds));
        if (o.each_round) print(scenario.name(), which.name, measured[which.name].back(), round);
      }
    }
    for (const auto& [which, path] : servers) {
      const std::vector<figures>& rounds = measured[which.name];
      print(scenario.name(), which.name,
            {median(rounds, &figures::rpcs_per_cpu_second), median(rounds, &figures::p50_us), median(rounds, &figures::p99_us),
             median(rounds, &figures::rss_kb)},
            0);
    }
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

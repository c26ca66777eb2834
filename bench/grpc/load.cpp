#include "bench/grpc/load.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "bench/grpc/child.h"

namespace bench {
namespace {

using namespace std::string_view_literals;

// Length-prefixed message: not compressed, 7 bytes, field 1 = "world". HelloReply has the same bytes.
constexpr std::string_view kMessage = "\0\0\0\0\7\n\5world"sv;

// The number that the pattern's group finds in h2load's report.
double figure(const std::string& report, const char* pattern) {
  std::smatch match;
  if (!std::regex_search(report, match, std::regex(pattern))) {
    throw std::runtime_error("h2load: its report has no \"" + std::string(pattern) + "\"; is it h2load 1.52 or later?");
  }
  return std::stod(match[1]);
}

}  // namespace

load::load(std::string address, int cpu) : address_(std::move(address)), cpu_(cpu) {
  std::string pattern = (std::filesystem::temp_directory_path() / "bench_grpc.XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr)
    throw std::runtime_error("mkdtemp " + pattern + ": cannot be made; set TMPDIR to a writable directory");
  directory_ = pattern;
  std::ofstream(directory_ + "/request") << kMessage;
}

load::~load() {
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::string load::run(const scenario& s, const std::string& how_much, const std::string& log) {
  std::vector<std::string> command{"h2load", "-t1", "-c" + std::to_string(s.connections), "-m" + std::to_string(s.streams), how_much};
  if (!log.empty()) command.push_back("--log-file=" + log);
  for (const char* argument : {"-H", "content-type: application/grpc", "-H", "te: trailers", "-d"}) command.emplace_back(argument);
  command.push_back(directory_ + "/request");
  command.push_back("http://" + address_ + "/helloworld.Greeter/SayHello");
  child h2load(command, cpu_);
  std::string report = h2load.read_all();
  if (const int status = h2load.wait(); status != 0) {
    throw std::runtime_error("h2load: ended with status " + std::to_string(status) +
                             "; install nghttp2-client, or see what it printed above");
  }
  return report;
}

void load::run_counted(const scenario& s, int64_t count, const std::string& log) {
  const std::string report = run(s, "-n" + std::to_string(count), log);
  const auto succeeded = static_cast<int64_t>(figure(report, R"((\d+) 2xx)"));
  const auto bytes = static_cast<int64_t>(figure(report, R"(\((\d+)\) data)"));
  const int64_t expected = count * static_cast<int64_t>(kMessage.size());
  if (succeeded != count || bytes != expected) {
    throw std::runtime_error("wrong answers: " + std::to_string(succeeded) + " of " + std::to_string(count) + " calls, " +
                             std::to_string(bytes) + " of " + std::to_string(expected) +
                             " message bytes; the server does not echo `name` into `message`");
  }
}

double load::warm_up(const scenario& s, int milliseconds) {
  return figure(run(s, "-D" + std::to_string(milliseconds) + "ms", {}), R"(finished in [^,]*, ([\d.]+) req/s)");
}

void load::calls(const scenario& s, int64_t count) { run_counted(s, count, {}); }

latency load::timed_calls(const scenario& s, int64_t count) {
  const std::string path = directory_ + "/log";
  run_counted(s, count, path);
  std::vector<int64_t> us;
  std::ifstream log(path);
  for (int64_t start, status, duration; log >> start >> status >> duration;) us.push_back(duration);
  std::filesystem::remove(path);
  if (us.empty()) throw std::runtime_error("h2load: wrote no times to " + path + "; is the file system full?");
  std::sort(us.begin(), us.end());
  const auto at = [&](double share) { return static_cast<double>(us[static_cast<size_t>(share * static_cast<double>(us.size() - 1))]); };
  return {at(0.50), at(0.99)};
}

}  // namespace bench

#include "bench/grpc/load.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <stdexcept>
#include <vector>

#include "bench/grpc/child.h"
#include "bench/grpc/plain_client.h"

namespace bench {
namespace {

// The number that the pattern's group finds in h2load's report.
double figure(const std::string& report, const char* pattern) {
  std::smatch match;
  if (!std::regex_search(report, match, std::regex(pattern))) {
    throw std::runtime_error("h2load: its report has no \"" + std::string(pattern) + "\"; is it h2load 1.52 or later?");
  }
  return std::stod(match[1]);
}

}  // namespace

load::load(std::string address, int cpu, request r) : address_(std::move(address)), cpu_(cpu), request_(std::move(r)) {
  std::string pattern = (std::filesystem::temp_directory_path() / "bench_grpc.XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr)
    throw std::runtime_error("mkdtemp " + pattern + ": cannot be made; set TMPDIR to a writable directory");
  directory_ = pattern;
  std::ofstream(directory_ + "/request") << framed(request_.message);
}

load::~load() {
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::string load::run(const std::string& how_much, const std::string& log, double rate) {
  std::vector<std::string> command{"h2load", "-t1", "-c" + std::to_string(request_.connections), "-m" + std::to_string(request_.streams),
                                   how_much};
  if (!log.empty()) command.push_back("--log-file=" + log);
  if (rate > 0) command.push_back("--rps=" + std::to_string(rate / request_.connections));
  for (const char* argument : {"-H", "content-type: application/grpc", "-H", "te: trailers", "-d"}) command.emplace_back(argument);
  command.push_back(directory_ + "/request");
  command.push_back((request_.tls ? "https://" : "http://") + address_ + request_.path);
  child h2load(command, cpu_);
  std::string report = h2load.read_all();
  if (const int status = h2load.wait(); status != 0) {
    throw std::runtime_error("h2load: ended with status " + std::to_string(status) +
                             "; install nghttp2-client, or see what it printed above");
  }
  return report;
}

void load::run_counted(int64_t count, const std::string& log, double rate) {
  const std::string report = run("-n" + std::to_string(count), log, rate);
  const auto succeeded = static_cast<int64_t>(figure(report, R"((\d+) 2xx)"));
  const auto bytes = static_cast<int64_t>(figure(report, R"(\((\d+)\) data)"));
  const int64_t expected = count * request_.reply_bytes;
  if (succeeded != count || bytes != expected) {
    throw std::runtime_error("wrong answers of " + request_.path + ": " + std::to_string(succeeded) + " of " + std::to_string(count) +
                             " calls, " + std::to_string(bytes) + " of " + std::to_string(expected) + " message bytes");
  }
}

double load::warm_up(int milliseconds) {
  return figure(run("-D" + std::to_string(milliseconds) + "ms", {}, 0), R"(finished in [^,]*, ([\d.]+) req/s)");
}

void load::calls(int64_t count) { run_counted(count, {}, 0); }

latency load::timed_calls(int64_t count) { return timed(count, 0); }
latency load::timed_calls_at(double calls_per_second, int64_t count) { return timed(count, calls_per_second); }

latency load::timed(int64_t count, double rate) {
  const std::string path = directory_ + "/log";
  run_counted(count, path, rate);
  std::vector<int64_t> us;
  std::ifstream log(path);
  for (int64_t start, status, duration; log >> start >> status >> duration;) us.push_back(duration);
  std::filesystem::remove(path);
  if (us.empty()) throw std::runtime_error("h2load: wrote no times to " + path + "; is the file system full?");
  return of_times(us);
}

latency of_times(std::vector<int64_t>& us) {
  std::sort(us.begin(), us.end());
  const auto at = [&](double share) { return static_cast<double>(us[static_cast<size_t>(share * static_cast<double>(us.size() - 1))]); };
  return {at(0.50), at(0.99)};
}

}  // namespace bench

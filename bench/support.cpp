#include "bench/support.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <warren/go.h>

namespace bench {
namespace {

// A reporter that leaves the kind of clock, and a fixed number of iterations, out of the names.
template <class Reporter>
class plain_names : public Reporter {
 public:
  using Reporter::Reporter;

 private:
  void ReportRuns(const std::vector<typename Reporter::Run>& runs) override {
    std::vector<typename Reporter::Run> renamed = runs;
    for (auto& run : renamed) {
      run.run_name.time_type.clear();
      run.run_name.iterations.clear();
    }
    Reporter::ReportRuns(renamed);
  }
};

}  // namespace

void wrong(const char* what) {
  std::fprintf(stderr, "fatal: %s\n", what);
  std::abort();
}

int main(int argc, char** argv) {
  constexpr std::string_view kFilter = "--benchmark_filter=", kOut = "--benchmark_out=", kFormat = "--benchmark_format=";
  std::vector<std::string> arguments(argv, argv + argc);
  bool json = false, file = false;
  for (std::string& argument : arguments) {
    // An end anchor is meant for the name as we print it.
    if (argument.starts_with(kFilter) && argument.ends_with('$'))
      argument.replace(argument.size() - 1, 1, "(/iterations:1)?(/process_time/real_time)?$");
    if (argument.starts_with(kFormat)) json = argument == "--benchmark_format=json";
    if (argument.starts_with(kOut)) file = true;
  }
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  benchmark::Initialize(&argc, pointers.data());
  if (benchmark::ReportUnrecognizedArguments(argc, pointers.data())) return 2;

  return warren::run([&] {
    benchmark::AddCustomContext("maxprocs", std::to_string(warren::maxprocs()));
    plain_names<benchmark::ConsoleReporter> console(benchmark::ConsoleReporter::OO_Tabular);
    plain_names<benchmark::JSONReporter> to_screen, to_file;
    benchmark::BenchmarkReporter* display = &console;
    if (json) display = &to_screen;
    benchmark::RunSpecifiedBenchmarks(display, file ? &to_file : nullptr);
    return 0;
  });
}

}  // namespace bench

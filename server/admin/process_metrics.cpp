#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include <warren/go.h>
#include <warren/metrics.h>

#include "server/admin/families.h"

namespace warren::admin {
namespace {

// What /proc and getrlimit say. A figure that could not be read is absent, not 0.
struct process_figures {
  bool have_stat = false, have_limits = false, have_fds = false, have_start = false, have_network = false;
  double cpu_seconds = 0;
  double virtual_bytes = 0, resident_bytes = 0, virtual_max = 0;
  double start_seconds = 0;
  double fds = 0, max_fds = 0;
  double received_bytes = 0, sent_bytes = 0;
};

// The figures of /proc/self/stat from field 3 on: the name in field 2 may hold blanks and parentheses, so it is skipped from the right.
void read_stat(process_figures& out) {
  std::ifstream in("/proc/self/stat");
  std::string line;
  if (!std::getline(in, line)) return;
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return;
  std::istringstream rest(line.substr(name_end + 1));
  std::string state;
  rest >> state;
  double field[22] = {};  // 4 … 25
  for (double& value : field) rest >> value;
  if (!rest) return;
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  out.cpu_seconds = (field[14 - 4] + field[15 - 4]) / ticks;
  const double started_after_boot = field[22 - 4] / ticks;
  out.virtual_bytes = field[23 - 4];
  out.resident_bytes = field[24 - 4] * static_cast<double>(sysconf(_SC_PAGESIZE));
  out.have_stat = true;

  std::ifstream stat("/proc/stat");
  for (std::string word; stat >> word;) {
    if (word != "btime") continue;
    double boot = 0;
    if (stat >> boot) {
      out.start_seconds = boot + started_after_boot;
      out.have_start = true;
    }
    return;
  }
}

void read_limits(process_figures& out) {
  rlimit files{}, space{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0 || getrlimit(RLIMIT_AS, &space) != 0) return;
  out.max_fds = static_cast<double>(files.rlim_cur);
  // RLIM_INFINITY is exported as the number it is, as Go's collector does.
  out.virtual_max = static_cast<double>(space.rlim_cur);
  out.have_limits = true;
}

void read_fds(process_figures& out) {
  DIR* dir = opendir("/proc/self/fd");
  if (dir == nullptr) return;
  int count = 0;
  while (const dirent* entry = readdir(dir)) {
    if (entry->d_name[0] != '.') count++;
  }
  closedir(dir);
  out.fds = count - 1;  // without the one that reads the directory
  out.have_fds = true;
}

// Of the whole network namespace, as Go's collector reports it too.
void read_network(process_figures& out) {
  std::ifstream in("/proc/self/net/netstat");
  std::string names, values;
  while (std::getline(in, names) && std::getline(in, values)) {
    if (names.compare(0, 6, "IpExt:") != 0) continue;
    std::istringstream name(names), value(values);
    std::string n, v;
    bool received = false, sent = false;
    while (name >> n && value >> v) {
      if (n == "InOctets") {
        out.received_bytes = std::strtod(v.c_str(), nullptr);
        received = true;
      } else if (n == "OutOctets") {
        out.sent_bytes = std::strtod(v.c_str(), nullptr);
        sent = true;
      }
    }
    out.have_network = received && sent;
    return;
  }
}

class process_collector final : public prometheus::Collectable {
 public:
  std::vector<MetricFamily> Collect() const override {
    process_figures p;
    // A directory of ten thousand descriptors takes milliseconds to read: other goroutines run meanwhile.
    blocking([&] {
      read_stat(p);
      read_limits(p);
      read_fds(p);
      read_network(p);
    });
    families f;
    if (p.have_stat) {
      f.counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", p.cpu_seconds);
      f.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", p.virtual_bytes);
      f.gauge("process_resident_memory_bytes", "Resident memory size in bytes.", p.resident_bytes);
    }
    if (p.have_start) {
      f.gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", p.start_seconds);
    }
    if (p.have_limits) {
      f.gauge("process_max_fds", "Maximum number of open file descriptors.", p.max_fds);
      f.gauge("process_virtual_memory_max_bytes", "Maximum amount of virtual memory available in bytes.", p.virtual_max);
    }
    if (p.have_fds) f.gauge("process_open_fds", "Number of open file descriptors.", p.fds);
    if (p.have_network) {
      f.counter("process_network_receive_bytes_total", "Number of bytes received by the process over the network.", p.received_bytes);
      f.counter("process_network_transmit_bytes_total", "Number of bytes sent by the process over the network.", p.sent_bytes);
    }
    return f.take();
  }
};

}  // namespace

std::shared_ptr<prometheus::Collectable> process_metrics() { return std::make_shared<process_collector>(); }

}  // namespace warren::admin

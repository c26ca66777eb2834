#include "bench/grpc/child.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <system_error>

extern char** environ;

namespace bench {
namespace {

int exit_code(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }

}  // namespace

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

pinned::pinned(int cpu) {
  sched_getaffinity(0, sizeof before_, &before_);
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  if (sched_setaffinity(0, sizeof one, &one) != 0) {
    throw std::system_error(errno, std::generic_category(), "pin to processor " + std::to_string(cpu));
  }
}

pinned::~pinned() { sched_setaffinity(0, sizeof before_, &before_); }

child::child(const std::vector<std::string>& arguments, int cpu) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pinned pin(cpu);  // a child inherits the affinity of the thread that spawns it
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  const int error = posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  output_ = ends[0];
  if (error != 0) {
    close(output_);
    throw std::system_error(error, std::generic_category(), "start " + arguments[0]);
  }
}

child::~child() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(output_);
}

std::string child::wait_for_line(const std::string& prefix, int milliseconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
  for (;;) {
    for (size_t begin = 0, eol; (eol = seen_.find('\n', begin)) != std::string::npos; begin = eol + 1) {
      if (seen_.compare(begin, prefix.size(), prefix) == 0) return seen_.substr(begin + prefix.size(), eol - begin - prefix.size());
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    pollfd ready{output_, POLLIN, 0};
    char buffer[4096];
    if (left <= 0 || poll(&ready, 1, static_cast<int>(left)) <= 0) return {};
    const ssize_t n = read(output_, buffer, sizeof buffer);
    if (n <= 0) return {};
    seen_.append(buffer, static_cast<size_t>(n));
  }
}

std::string child::read_all() {
  char buffer[4096];
  for (ssize_t n; (n = read(output_, buffer, sizeof buffer)) > 0;) seen_.append(buffer, static_cast<size_t>(n));
  return seen_;
}

int child::stop() {
  kill(pid_, SIGTERM);
  int status;
  for (int i = 0; i < 500; i++) {
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return exit_code(status);
    }
    usleep(10'000);
  }
  kill(pid_, SIGKILL);
  return wait();
}

int child::wait() {
  int status;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return exit_code(status);
}

int64_t child::cpu_nanoseconds() const {
  clockid_t clock;
  timespec t;
  if (const int error = clock_getcpuclockid(pid_, &clock))
    throw std::system_error(error, std::generic_category(), "CPU clock of the server");
  if (clock_gettime(clock, &t) != 0) throw std::system_error(errno, std::generic_category(), "CPU clock of the server");
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

int64_t child::queued_nanoseconds() const {
  int64_t sum = 0;
  std::error_code ignored;  // a thread may end meanwhile
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(pid_) + "/task", ignored)) {
    std::ifstream schedstat(task.path() / "schedstat");
    int64_t ran = 0, queued = 0;
    if (schedstat >> ran >> queued) sum += queued;
  }
  return sum;
}

int64_t child::status_kb(const std::string& field) const {
  std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(field, 0) == 0) return std::stoll(line.substr(field.size()));
  }
  return 0;
}

int64_t child::peak_rss_kb() const { return status_kb("VmHWM:"); }
int64_t child::rss_kb() const { return status_kb("VmRSS:"); }

}  // namespace bench

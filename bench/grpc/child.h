// A child process pinned to one processor.
#pragma once
#include <sched.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace bench {

// The first two processors this process may use: the server's and the load's. Throws std::runtime_error when there is one only.
std::pair<int, int> two_processors();

// The calling thread runs on that processor only, until the end of the scope; so does what it starts. Throws std::system_error.
class pinned {
 public:
  explicit pinned(int cpu);
  ~pinned();
  pinned(const pinned&) = delete;
  pinned& operator=(const pinned&) = delete;

 private:
  cpu_set_t before_;
};

// Owns the process: the destructor kills it if it still runs. Not thread-safe: spawning pins the calling thread for a moment.
class child {
 public:
  // Starts arguments[0] (a path, or a name looked up in PATH) on processor `cpu`, its standard output in a pipe of ours.
  // Throws std::system_error.
  child(const std::vector<std::string>& arguments, int cpu);
  ~child();
  child(const child&) = delete;
  child& operator=(const child&) = delete;

  // The rest of the line that begins with `prefix`, waiting for it at most that long. Empty: it did not come.
  std::string wait_for_line(const std::string& prefix, int milliseconds);
  // Everything it prints until it closes its output.
  std::string read_all();
  // Sends SIGTERM and waits five seconds, then kills. Returns the exit status, -1 if it was ended by a signal.
  int stop();
  // Waits for its own end. Returns as stop does.
  int wait();

  pid_t pid() const { return pid_; }
  int64_t cpu_nanoseconds() const;     // user and system time of all its threads up to now
  int64_t queued_nanoseconds() const;  // time its threads were ready and others had the processor
  int64_t peak_rss_kb() const;         // VmHWM
  int64_t rss_kb() const;              // VmRSS, now

 private:
  int64_t status_kb(const std::string& field) const;

  pid_t pid_ = -1;
  int output_ = -1;
  std::string seen_;
};

}  // namespace bench

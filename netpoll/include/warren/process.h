// Child processes: starting one from a program with many threads, talking to it, waiting for its end.
//
//   warren::process p = warren::spawn_process({.program = "sort", .output = warren::process_io::pipe(), .input = …});
//   asio::read_until(p.output(), …);
//   warren::exit_status s = p.wait();      // parks the goroutine, not a thread
//
// Use this instead of fork(): a forked child has one thread and everybody else's locks, and none of warren's other threads. What such a
// child may do is exec or _exit; any use of the runtime there ends it with a line that says so.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "warren/stream.h"

namespace warren {

namespace rt {
class child;
}

// Where one of the child's standard streams leads.
class process_io {
 public:
  static process_io inherit() noexcept { return {kind::inherit, -1}; }              // the program's own
  static process_io null() noexcept { return {kind::null, -1}; }                    // /dev/null
  static process_io pipe() noexcept { return {kind::pipe, -1}; }                    // process::input() and so on
  static process_io descriptor(int fd) noexcept { return {kind::descriptor, fd}; }  // a copy of it; the caller keeps the original

  enum class kind : uint8_t { inherit, null, pipe, descriptor };
  const kind how;
  const int fd;

 private:
  process_io(kind h, int f) noexcept : how(h), fd(f) {}
};

struct process_options {
  std::string program = {};                                  // a path; without a slash it is looked for in PATH (of this program)
  std::vector<std::string> arguments = {};                   // without the program's name, which comes first by itself
  std::optional<std::vector<std::string>> environment = {};  // "NAME=value" each; not given: this program's
  std::string directory = {};                                // to start in; empty: this program's
  process_io input = process_io::null();
  process_io output = process_io::inherit();
  process_io error = process_io::inherit();
  bool new_group = false;  // a process group of its own: Ctrl-C at the terminal does not reach it
};

struct exit_status {
  int code = -1;   // what it returned, -1 when a signal ended it
  int signal = 0;  // the signal that ended it, 0 when it returned
  bool core_dumped = false;
  bool success() const noexcept { return code == 0; }
};

class process;
process spawn_process(const process_options& options, asio::error_code& ec);  // described below

// One end of a pipe to a child. A stream (<warren/stream.h>) that can be read or written only; peer_name is "pipe"; shutdown is not
// supported (close it: the child reads eof). A child that is gone is asio::error::broken_pipe to who writes, never SIGPIPE.
class pipe_end final : public stream {
 public:
  pipe_end() noexcept = default;
  pipe_end(pipe_end&& from) noexcept : fd_(from.fd_) { from.fd_ = nullptr; }
  pipe_end& operator=(pipe_end&& from) noexcept;
  ~pipe_end() override;

  using stream::close;
  using stream::shutdown;
  using stream::wait_readable;
  bool is_open() const noexcept override;
  bool wait_readable(asio::error_code& ec) override;
  void shutdown(asio::socket_base::shutdown_type what, asio::error_code& ec) override;
  void close(asio::error_code& ec) noexcept override;
  std::string peer_name() const override { return "pipe"; }

 private:
  friend process spawn_process(const process_options&, asio::error_code&);
  explicit pipe_end(rt::fd* f) noexcept : fd_(f) {}
  size_t read_pieces(const iovec* v, int count, size_t bytes, bool park, asio::error_code& ec) override;
  size_t write_pieces(iovec* v, int count, size_t bytes, write_mode mode, asio::error_code& ec) override;
  void set_deadline(int64_t ns, side which) override;

  rt::fd* fd_ = nullptr;
};

// A handle on one child. Destroying it neither ends the child nor waits for it; a child nobody has waited for stays in the kernel's table
// (a zombie) until this program ends. Moving and destroying must not coincide with another use; otherwise any goroutine may use it.
class process {
 public:
  process() noexcept;
  process(process&&) noexcept;
  process& operator=(process&&) noexcept;
  ~process();

  pid_t id() const noexcept;  // 0 for an empty handle

  // This program's ends of the streams that are process_io::pipe(). Not open otherwise.
  pipe_end& input() noexcept { return input_; }
  pipe_end& output() noexcept { return output_; }
  pipe_end& error() noexcept { return error_; }

  // Parks until the child has ended. Any number of goroutines, any number of times: the same answer. Errors: bad_descriptor for an empty
  // handle; no_child_process (ECHILD) when somebody else took the status, for example because the program ignores SIGCHLD.
  exit_status wait(asio::error_code& ec);
  exit_status wait();

  // Sends a signal. no_such_process (ESRCH) after a wait() has returned. It cannot hit another process that got the same number.
  void kill(int signal, asio::error_code& ec) noexcept;
  void kill(int signal);

 private:
  friend process spawn_process(const process_options&, asio::error_code&);
  std::shared_ptr<rt::child> child_;
  pipe_end input_, output_, error_;
};

// Starts a program. Returns when the child runs it; a program that cannot be run is an error here (no_such_file_or_directory,
// permission_denied …), not a child that fails. The child inherits nothing by accident: descriptors above 2 are closed there, whatever
// their flags say; no signal is blocked and none ignored (but for the two that
// glibc keeps for itself). On a goroutine; blocks a thread, not a P, for about a millisecond.
process spawn_process(const process_options& options, asio::error_code& ec);
process spawn_process(const process_options& options);  // throws net_error

}  // namespace warren

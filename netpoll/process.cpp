#include "netpoll/process.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mutex>

#include "netpoll/net_error.h"
#include "netpoll/sys_process.h"
#include "warren/go.h"

namespace warren {

namespace rt {

std::atomic<bool> test_without_pidfd{false};

child::child(pid_t pid) noexcept : pid_(pid) {
  if (test_without_pidfd.load(std::memory_order_relaxed)) return;
  const sys::result r = sys::pidfd_open(pid);
  asio::error_code ec;
  if (r.ok()) fd_ = fd::open(static_cast<int>(r.value), ec);  // a kqueue takes none
}

child::~child() {
  if (fd_ != nullptr) fd_->release();
}

// The lock is held for a system call that does not block.
sys::result child::take(exit_status* out) noexcept {
  const std::lock_guard guard(lock_);
  if (!ended_ && error_ == 0) {
    sys::child_end end;
    const sys::result r = sys::wait_child(pid_, false, true, &end);
    if (r.error == EAGAIN) return r;
    if (r.ok()) {
      ended_ = true;
      status_.code = end.code == CLD_EXITED ? end.status : -1;
      status_.signal = end.code == CLD_EXITED ? 0 : end.status;
      status_.core_dumped = end.code == CLD_DUMPED;
    } else {
      error_ = r.error;
    }
  }
  *out = status_;
  return {error_ == 0 ? 0 : -1, error_};
}

exit_status child::wait(asio::error_code& ec) {
  struct request {
    child* self;
    exit_status status;
  } q{this, {}};
  if (fd_ != nullptr) {
    fd_->operate(
        kReadSide, park_mode::once,
        [](int, void* arg) {
          auto* r = static_cast<request*>(arg);
          return r->self->take(&r->status);
        },
        &q, ec);
    return q.status;
  }
  for (;;) {
    sys::result r = take(&q.status);
    if (r.error == EAGAIN) {
      blocking([&] {
        sys::child_end end;
        sys::wait_child(pid_, true, false, &end);  // an error comes up again in take
      });
      continue;
    }
    fd::set(ec, r.error);
    return q.status;
  }
}

void child::kill(int signal, asio::error_code& ec) noexcept {
  const std::lock_guard guard(lock_);
  fd::set(ec, ended_ || error_ != 0 ? ESRCH : sys::signal_process(pid_, signal).error);
}

}  // namespace rt

// ---- pipe_end -----------------------------------------------------------------------------------------------------------------------

namespace {
struct pieces {
  const iovec* v;
  int count;
};
}  // namespace

pipe_end& pipe_end::operator=(pipe_end&& from) noexcept {
  if (this != &from) {
    if (fd_ != nullptr) fd_->release();
    fd_ = from.fd_;
    from.fd_ = nullptr;
  }
  return *this;
}

pipe_end::~pipe_end() {
  if (fd_ != nullptr) fd_->release();
}

bool pipe_end::is_open() const noexcept { return fd_ != nullptr && fd_->is_open(); }

bool pipe_end::wait_readable(asio::error_code& ec) {
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return false;
  }
  fd_->operate(
      rt::kReadSide, rt::park_mode::once, [](int s, void*) { return rt::sys::readable(s); }, nullptr, ec);
  return !ec;
}

void pipe_end::shutdown(asio::socket_base::shutdown_type, asio::error_code& ec) { ec = asio::error::operation_not_supported; }

void pipe_end::close(asio::error_code& ec) noexcept {
  if (fd_ == nullptr) {
    ec = asio::error::bad_descriptor;
  } else {
    fd_->close(ec);
  }
}

size_t pipe_end::read_pieces(const iovec* v, int count, size_t bytes, bool park, asio::error_code& ec) {
  ec.clear();
  if (fd_ == nullptr) ec = asio::error::bad_descriptor;
  if (ec || bytes == 0) return 0;
  pieces p{v, count};
  const size_t n = fd_->operate(
      rt::kReadSide, park ? rt::park_mode::once : rt::park_mode::never,
      [](int s, void* arg) {
        const auto* q = static_cast<const pieces*>(arg);
        return rt::sys::readv(s, q->v, q->count);
      },
      &p, ec);
  if (n == 0 && !ec) ec = asio::error::eof;
  return n;
}

size_t pipe_end::write_pieces(iovec* v, int count, size_t bytes, write_mode mode, asio::error_code& ec) {
  ec.clear();
  if (fd_ == nullptr) ec = asio::error::bad_descriptor;
  if (ec || bytes == 0) return 0;
  size_t done = 0;
  for (;;) {
    pieces p{v, count};
    const size_t n = fd_->operate(
        rt::kWriteSide, mode == write_mode::attempt ? rt::park_mode::never : rt::park_mode::once,
        [](int s, void* arg) {
          const auto* q = static_cast<const pieces*>(arg);
          return rt::sys::write_pipe(s, q->v, q->count);
        },
        &p, ec);
    done += n;
    if (ec || mode != write_mode::all || done == bytes) return done;
    size_t skip = n;
    while (count > 0 && skip >= v->iov_len) {
      skip -= v->iov_len;
      ++v;
      --count;
    }
    v->iov_base = static_cast<char*>(v->iov_base) + skip;
    v->iov_len -= skip;
  }
}

void pipe_end::set_deadline(int64_t ns, side which) {
  if (fd_ == nullptr) return;
  const uint8_t sides = which == side::read ? rt::kReadSide : which == side::write ? rt::kWriteSide : rt::kReadSide | rt::kWriteSide;
  fd_->set_deadline(ns, sides);
}

// ---- process ------------------------------------------------------------------------------------------------------------------------

process::process() noexcept = default;
process::process(process&&) noexcept = default;
process& process::operator=(process&&) noexcept = default;
process::~process() = default;

pid_t process::id() const noexcept { return child_ == nullptr ? 0 : child_->id(); }

exit_status process::wait(asio::error_code& ec) {
  if (child_ == nullptr) {
    ec = asio::error::bad_descriptor;
    return {};
  }
  const std::shared_ptr<rt::child> c = child_;
  return c->wait(ec);
}

exit_status process::wait() {
  asio::error_code ec;
  const exit_status s = wait(ec);
  if (ec) throw net_error(ec, rt::net_error_line("wait for process", std::to_string(id()), ec));
  return s;
}

void process::kill(int signal, asio::error_code& ec) noexcept {
  if (child_ == nullptr) {
    ec = asio::error::bad_descriptor;
  } else {
    child_->kill(signal, ec);
  }
}

void process::kill(int signal) {
  asio::error_code ec;
  kill(signal, ec);
  if (ec) throw net_error(ec, rt::net_error_line("kill process", std::to_string(id()), ec));
}

namespace {

// The child's descriptors, and ours of the pipes: closed unless handed on.
struct plumbing {
  int theirs[3] = {-1, -1, -1};
  int ours[3] = {-1, -1, -1};

  ~plumbing() {
    close_theirs();
    for (const int f : ours)
      if (f >= 0) rt::sys::close(f);
  }
  void close_theirs() noexcept {
    for (int& f : theirs) {
      if (f >= 0) rt::sys::close(f);
      f = -1;
    }
  }

  // All numbered 3 or more: 0, 1 and 2 are put in place one after the other in the child, and must not overwrite one another's source.
  rt::sys::result lay(int which, const process_io& io) noexcept {
    rt::sys::result r;
    switch (io.how) {
      case process_io::kind::inherit: return {};
      case process_io::kind::null: r = rt::sys::open_null(); break;
      case process_io::kind::descriptor: r = rt::sys::copy_above_stdio(io.fd); break;
      case process_io::kind::pipe: {
        int ends[2];
        r = rt::sys::blocking_pipe(ends);
        if (!r.ok()) return r;
        const int theirs_end = which == 0 ? 0 : 1;
        r = rt::sys::copy_above_stdio(ends[theirs_end]);
        rt::sys::close(ends[theirs_end]);
        ours[which] = ends[1 - theirs_end];
        if (const rt::sys::result n = rt::sys::make_nonblocking(ours[which]); r.ok() && !n.ok()) {
          rt::sys::close(static_cast<int>(r.value));
          return n;
        }
        break;
      }
    }
    if (r.ok()) theirs[which] = static_cast<int>(r.value);
    return r;
  }
};

std::vector<char*> pointers(const std::vector<std::string>& strings, const std::string* first) {
  std::vector<char*> out;
  out.reserve(strings.size() + 2);
  if (first != nullptr) out.push_back(const_cast<char*>(first->c_str()));
  for (const std::string& s : strings) out.push_back(const_cast<char*>(s.c_str()));
  out.push_back(nullptr);
  return out;
}

}  // namespace

process spawn_process(const process_options& options, asio::error_code& ec) {
  process p;
  plumbing pipes;
  const process_io* const io[3] = {&options.input, &options.output, &options.error};
  rt::sys::result r;
  for (int i = 0; i < 3 && r.ok(); ++i) r = pipes.lay(i, *io[i]);
  if (r.ok() && options.program.empty()) r = {-1, ENOENT};
  if (r.ok()) {
    const std::vector<char*> arguments = pointers(options.arguments, &options.program);
    std::vector<char*> own;
    if (options.environment) own = pointers(*options.environment, nullptr);
    rt::sys::spawn_request request{options.program.c_str(),
                                   arguments.data(),
                                   options.environment ? own.data() : environ,
                                   options.directory.empty() ? nullptr : options.directory.c_str(),
                                   {pipes.theirs[0], pipes.theirs[1], pipes.theirs[2]},
                                   options.new_group};
    blocking([&] { r = rt::sys::spawn(request); });
  }
  if (!r.ok()) {
    rt::fd::set(ec, r.error);
    return p;
  }
  pipes.close_theirs();  // or we would never read eof
  p.child_ = std::make_shared<rt::child>(static_cast<pid_t>(r.value));
  pipe_end* const ends[3] = {&p.input_, &p.output_, &p.error_};
  ec.clear();
  for (int i = 0; i < 3; ++i) {
    if (pipes.ours[i] < 0) continue;
    rt::fd* f = rt::fd::open(pipes.ours[i], ec);  // closes it when it fails
    pipes.ours[i] = -1;
    if (f == nullptr) {
      // The child runs, but nobody could talk to it.
      const asio::error_code why = ec;
      p.kill(SIGKILL, ec);
      p.wait(ec);
      ec = why;
      return {};
    }
    *ends[i] = pipe_end(f);
  }
  return p;
}

process spawn_process(const process_options& options) {
  asio::error_code ec;
  process p = spawn_process(options, ec);
  if (ec) throw net_error(ec, rt::net_error_line("spawn", options.program, ec));
  return p;
}

}  // namespace warren

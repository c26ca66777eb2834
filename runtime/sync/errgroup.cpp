// errgroup: a wait_group, a context, and the first failure.
//
// The last thing a goroutine does to the group is running_.done(): after that wait() may return and the group be gone.
#include "warren/errgroup.h"

#include "runtime/os/fatal.h"
#include "warren/go.h"

namespace warren {

errgroup::~errgroup() {
  own_.cancel();
  running_.wait();
}

void errgroup::set_limit(int n) {
  const int active = count_.load(std::memory_order_relaxed);
  if (active != 0) {
    rt::fatal("goroutine %llu: errgroup::set_limit(%d) while %d of its goroutines exist: set it before the first go",
              static_cast<unsigned long long>(goroutine_id()), n, active);
  }
  limit_ = n;
}

void errgroup::begin() {
  if (limit_ < 0) {
    count_.fetch_add(1, std::memory_order_relaxed);
  } else {
    lock_guard hold(m_);
    while (count_.load(std::memory_order_relaxed) >= limit_) below_limit_.wait(m_);
    count_.fetch_add(1, std::memory_order_relaxed);
  }
  running_.add(1);
}

bool errgroup::try_begin() {
  if (limit_ < 0) {
    count_.fetch_add(1, std::memory_order_relaxed);
  } else {
    lock_guard hold(m_);
    if (count_.load(std::memory_order_relaxed) >= limit_) return false;
    count_.fetch_add(1, std::memory_order_relaxed);
  }
  running_.add(1);
  return true;
}

void errgroup::end() {
  if (limit_ < 0) {
    count_.fetch_sub(1, std::memory_order_relaxed);
  } else {
    lock_guard hold(m_);
    count_.fetch_sub(1, std::memory_order_relaxed);
    below_limit_.signal();
  }
  running_.done();
}

void errgroup::fail(std::error_code code, const std::exception_ptr& exception) noexcept {
  {
    lock_guard hold(m_);
    if (failed_) return;
    failed_ = true;
    code_ = code;
    exception_ = exception;
  }
  if (exception != nullptr) {
    own_.cancel(exception);
  } else {
    own_.cancel(code);
  }
}

std::error_code errgroup::wait() {
  running_.wait();
  own_.cancel();
  lock_guard hold(m_);
  if (exception_ != nullptr) std::rethrow_exception(exception_);
  return code_;
}

}  // namespace warren

#include "server/grpc/inbox.h"

#include <algorithm>
#include <mutex>
#include <utility>

namespace warren::grpc {

void inbox::put(std::string_view bytes) {
  rt::g* reader = nullptr;
  {
    std::lock_guard hold(mutex_);
    bytes_.append(bytes);
    if (reader_ != nullptr && bytes_.size() >= needs_) {
      reader = std::exchange(reader_, nullptr);
      cutter_.add(bytes_);
      fed_ = true;
    }
  }
  if (reader != nullptr) rt::goready(reader);
}

void inbox::end() {
  rt::g* reader;
  {
    std::lock_guard hold(mutex_);
    ended_ = true;
    reader = std::exchange(reader_, nullptr);
  }
  if (reader != nullptr) rt::goready(reader);
}

void inbox::abort() {
  rt::g* reader;
  {
    std::lock_guard hold(mutex_);
    aborted_.store(true, std::memory_order_release);
    reader = std::exchange(reader_, nullptr);
  }
  if (reader != nullptr) rt::goready(reader);
}

size_t inbox::take_reported() {
  std::lock_guard hold(mutex_);
  return std::exchange(reported_, 0);
}

inbox::news inbox::wait(size_t quarter) {
  const size_t enough = std::min(cutter_.missing(), quarter);
  mutex_.lock();
  while (bytes_.size() < enough && !ended_ && !aborted_.load(std::memory_order_relaxed)) {
    reader_ = rt::getg();
    needs_ = enough;
    rt::gopark(&rt::park_unlock, &mutex_, rt::wait_reason::chan_receive);
    // acquire pairs with abort()'s release: who learns here that the call is over learns why, too.
    if (std::exchange(fed_, false)) return aborted_.load(std::memory_order_acquire) ? news::over : news::more;
    mutex_.lock();
  }
  const bool aborted = aborted_.load(std::memory_order_relaxed);
  const bool some = !bytes_.empty();
  if (some && !aborted) cutter_.add(bytes_);
  mutex_.unlock();
  if (aborted) return news::over;
  if (some) return news::more;
  return cutter_.at_boundary() ? news::over : news::cut_off;
}

void inbox::report() {
  std::lock_guard hold(mutex_);
  reported_ += cutter_.take_credit();
}

}  // namespace warren::grpc

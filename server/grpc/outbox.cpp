#include "server/grpc/outbox.h"

#include <mutex>
#include <utility>

namespace warren::grpc {

std::optional<size_t> outbox::add(byte_buffer& messages) {
  std::lock_guard hold(mutex_);
  if (aborted_) return std::nullopt;
  unsent_ += messages.size();
  if (written_.empty()) {
    written_.swap(messages);
  } else {
    written_.append({messages.data(), messages.size()});
  }
  return unsent_;
}

void outbox::wait_for_room(size_t allowed) {
  mutex_.lock();
  while (unsent_ > allowed && !aborted_) {
    writer_ = rt::getg();
    goes_on_at_ = allowed / kWakeDivisor;
    rt::gopark(&rt::park_unlock, &mutex_, rt::wait_reason::chan_send);
    mutex_.lock();
  }
  mutex_.unlock();
}

bool outbox::offer_written(size_t most) {
  rt::g* writer = nullptr;
  bool all;
  {
    std::lock_guard hold(mutex_);
    if (at_ == sending_.size()) {
      sending_.clear();
      at_ = 0;
      sending_.swap(written_);
    }
    all = offer(most) && written_.empty();
    unsent_ -= offered_;
    if (writer_ != nullptr && unsent_ <= goes_on_at_) writer = std::exchange(writer_, nullptr);
  }
  if (writer != nullptr) rt::goready(writer);
  return all;
}

void outbox::abort() {
  rt::g* writer;
  {
    std::lock_guard hold(mutex_);
    aborted_ = true;
    writer = std::exchange(writer_, nullptr);
  }
  if (writer != nullptr) rt::goready(writer);
}

size_t outbox::drop_unsent() {
  std::lock_guard hold(mutex_);
  written_.clear();
  sending_.truncate(at_ + offered_);
  return std::exchange(unsent_, 0);
}

}  // namespace warren::grpc

#include "server/grpcpp/calls.h"

#include <mutex>
#include <vector>

#include "server/grpcpp/call.h"

namespace warren::grpcpp {

bool calls::add(call& c) noexcept {
  std::lock_guard hold(mutex_);
  c.after_ = first_;
  if (first_ != nullptr) first_->before_ = &c;
  first_ = &c;
  return !killed_;
}

void calls::remove(call& c) noexcept {
  std::lock_guard hold(mutex_);
  (c.before_ == nullptr ? first_ : c.before_->after_) = c.after_;
  if (c.after_ != nullptr) c.after_->before_ = c.before_;
  delete &c;
  if (first_ == nullptr) fewer_.set();
}

// A call whose last reference has gone may still be on the list, waiting for the lock to leave it.
void calls::kill() {
  std::vector<call*> alive;
  {
    std::lock_guard hold(mutex_);
    killed_ = true;
    for (call* c = first_; c != nullptr; c = c->after_) {
      if (c->ref_if_alive()) alive.push_back(c);
    }
  }
  for (call* c : alive) {
    news.post(*c, call::kKilled);
    c->unref();
  }
}

void calls::wait_for_none() {
  for (;;) {
    {
      std::lock_guard hold(mutex_);
      if (first_ == nullptr) return;
    }
    fewer_.wait(0, true);
  }
}

}  // namespace warren::grpcpp

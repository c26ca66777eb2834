#include "server/grpc/deadlines.h"

#include <mutex>
#include <utility>

#include <warren/go.h>

#include "server/grpc/call.h"

namespace warren::grpc {

void deadlines::start(std::shared_ptr<void> keep) {
  go([this, keep = std::move(keep)] { loop(); });
}

void deadlines::stop() {
  rt::g* wake;
  {
    std::lock_guard hold(mutex_);
    stopping_ = true;
    wake = std::exchange(waiting_, nullptr);
  }
  if (wake != nullptr) rt::goready(wake);
  ended_.wait();
}

void deadlines::expired(call& c) noexcept {
  rt::g* wake;
  {
    std::lock_guard hold(mutex_);
    c.expired_next_ = first_;
    first_ = &c;
    wake = std::exchange(waiting_, nullptr);
  }
  if (wake != nullptr) rt::goready(wake);
}

void deadlines::loop() {
  for (;;) {
    mutex_.lock();
    call* c = std::exchange(first_, nullptr);
    if (c == nullptr) {
      if (stopping_) {
        mutex_.unlock();
        break;
      }
      waiting_ = rt::getg();
      rt::gopark(&rt::park_unlock, &mutex_, rt::wait_reason::other);
      continue;
    }
    mutex_.unlock();
    while (c != nullptr) {
      call* const after = c->expired_next_;  // posting may end c
      c->connection_.post(*c, call::kExpired);
      c = after;
    }
  }
  ended_.set();
}

}  // namespace warren::grpc

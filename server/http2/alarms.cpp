#include "server/http2/alarms.h"

#include <mutex>
#include <utility>

#include <warren/go.h>

namespace warren::http2 {

void alarms::start(std::shared_ptr<void> keep) {
  go([this, keep = std::move(keep)] { loop(); });
}

void alarms::stop() {
  rt::g* wake;
  {
    std::lock_guard hold(mutex_);
    stopping_ = true;
    wake = std::exchange(waiting_, nullptr);
  }
  if (wake != nullptr) rt::goready(wake);
  ended_.wait();
}

void alarms::went_off(alarm& a) noexcept {
  rt::g* wake;
  {
    std::lock_guard hold(mutex_);
    a.next_ = first_;
    first_ = &a;
    wake = std::exchange(waiting_, nullptr);
  }
  if (wake != nullptr) rt::goready(wake);
}

void alarms::loop() {
  for (;;) {
    mutex_.lock();
    alarm* a = std::exchange(first_, nullptr);
    if (a == nullptr) {
      if (stopping_) {
        mutex_.unlock();
        break;
      }
      waiting_ = rt::getg();
      rt::gopark(&rt::park_unlock, &mutex_, rt::wait_reason::other);
      continue;
    }
    mutex_.unlock();
    while (a != nullptr) {
      alarm* const after = a->next_;
      a->ring();
      a = after;
    }
  }
  ended_.set();
}

}  // namespace warren::http2

#include "server/grpcpp/desk.h"

#include <mutex>
#include <utility>

#include <warren/go.h>

#include "server/grpcpp/call.h"

namespace warren::grpcpp {

void desk::start(std::shared_ptr<void> keep) {
  go([this, keep = std::move(keep)] { loop(); });
}

void desk::stop() {
  {
    std::lock_guard hold(mutex_);
    stopping_ = true;
  }
  news_.set();
  ended_.wait(0);
}

void desk::post(call& c, uint32_t bits) noexcept {
  if (c.news.fetch_or(bits, std::memory_order_acq_rel) != 0) return;
  c.ref();
  {
    std::lock_guard hold(mutex_);
    c.next_with_news = nullptr;
    (last_ == nullptr ? first_ : last_->next_with_news) = &c;
    last_ = &c;
  }
  news_.set();
}

void desk::loop() {
  for (;;) {
    call* c;
    bool stopping;
    {
      std::lock_guard hold(mutex_);
      c = std::exchange(first_, nullptr);
      last_ = nullptr;
      stopping = stopping_;
    }
    if (c == nullptr) {
      if (stopping) break;
      news_.wait(0, true);
      continue;
    }
    while (c != nullptr) {
      call* const after = c->next_with_news;  // before the exchange: from there on it may be listed again
      c->act(c->news.exchange(0, std::memory_order_acq_rel));
      c->unref();
      c = after;
    }
  }
  ended_.set();
}

}  // namespace warren::grpcpp

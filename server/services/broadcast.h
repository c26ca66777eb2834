// One to many: "something changed, look again".
//
// A listener lives on the stack of the goroutine that waits, and so does its channel: the collector finds the channel there, and nothing
// collected is referred to from malloc'ed memory, where it would not look. The broadcaster keeps a list of listeners and pokes their
// channels, which hold one wake-up each: poking twice before the listener looks is one wake-up, and none is lost, because a
// listener exists before its goroutine first looks at what may change.
//
// Rejected: one channel that is closed to wake everybody and then replaced. The new channel would have to be kept alive from wherever the
// service object lies, by a root, and two changes in a row cost a new channel each.
#pragma once
#include <warren/chan.h>
#include <warren/sync.h>

namespace warren::grpc {

// Thread safety: any goroutine. Must outlive its listeners.
class broadcast {
 public:
  class listener {
   public:
    // Listens from now on.
    explicit listener(broadcast& to) : to_(to), wake_(make_chan<unit>(1)) {
      lock_guard hold(to_.m_);
      next_ = to_.first_;
      if (next_ != nullptr) next_->previous_ = this;
      to_.first_ = this;
    }
    ~listener() {
      lock_guard hold(to_.m_);
      (previous_ == nullptr ? to_.first_ : previous_->next_) = next_;
      if (next_ != nullptr) next_->previous_ = previous_;
    }
    listener(const listener&) = delete;
    listener& operator=(const listener&) = delete;

    // Receives once after any number of notify() calls: for select.
    const chan<unit>& wake() const noexcept { return wake_; }

   private:
    friend class broadcast;
    broadcast& to_;
    chan<unit> wake_;
    listener* next_ = nullptr;  // guarded by to_.m_, as previous_ is
    listener* previous_ = nullptr;
  };

  void notify() {
    lock_guard hold(m_);
    for (listener* l = first_; l != nullptr; l = l->next_) {
      if (!l->wake_.try_send(unit{})) continue;  // it has one waiting
    }
  }

 private:
  mutex m_;
  listener* first_ = nullptr;
};

}  // namespace warren::grpc

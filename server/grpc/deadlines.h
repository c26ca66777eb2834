// deadlines: the goroutine that tells connections which of their calls have run out of time.
#pragma once
#include <memory>

#include "runtime/os/mutex.h"
#include "runtime/sched/park.h"
#include "server/grpc/event.h"

namespace warren::grpc {

class call;

// A timer's function runs on a scheduler stack, where it must not own a connection (that may write to the socket). So it leaves the call
// here, and one goroutine per server posts it to its connection.
class deadlines {
 public:
  void start(std::shared_ptr<void> keep);  // its goroutine, which holds keep (what this is part of) to its end
  void stop();                             // parks until the goroutine has ended. REQUIRES: no call of this server is armed any more

  // From a timer's function, once per arming. The call stays alive until its kExpired was handled.
  void expired(call& c) noexcept;

 private:
  void loop();

  rt::mutex mutex_;  // guards the following
  call* first_ = nullptr;
  rt::g* waiting_ = nullptr;
  bool stopping_ = false;

  event ended_;
};

}  // namespace warren::grpc

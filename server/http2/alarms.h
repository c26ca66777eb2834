// alarms: the goroutine that tells connections and calls that a timer of theirs has gone off.
#pragma once
#include <memory>

#include "runtime/os/mutex.h"
#include "runtime/sched/park.h"
#include "server/http2/event.h"

namespace warren::http2 {

// Somebody with a timer.
class alarm {
 public:
  virtual void ring() = 0;  // on the goroutine of alarms; may end the object

 protected:
  alarm() = default;
  ~alarm() = default;

 private:
  friend class alarms;
  alarm* next_ = nullptr;
};

// A timer's function runs on a scheduler stack, where it must not own a connection (that may write to the socket). So it leaves its alarm
// here, and one goroutine per server rings.
class alarms {
 public:
  void start(std::shared_ptr<void> keep);  // its goroutine, which holds keep (what this is part of) to its end
  void stop();                             // parks until the goroutine has ended. REQUIRES: no timer of this server is armed any more

  // From a timer's function, once per arming. The alarm stays alive until it has rung.
  void went_off(alarm& a) noexcept;

 private:
  void loop();

  rt::mutex mutex_;  // guards the following
  alarm* first_ = nullptr;
  rt::g* waiting_ = nullptr;
  bool stopping_ = false;

  event ended_;
};

}  // namespace warren::http2

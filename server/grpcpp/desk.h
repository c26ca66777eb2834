// desk: what gRPC's threads, and timers, have to say of calls, and the goroutine that acts on it.
//
// gRPC's threads are not the runtime's: they have no P, may not touch collected objects, start no goroutines and end no contexts. What they
// may do is set bits and wake a goroutine (rt::event). So news of a call is bits in a word of the call, the call is put on a list once
// while any are set, and one goroutine per server takes the list and acts.
//
// Order. post() sets bits (acq_rel) and lists the call only if there were none; the goroutine takes the call off the list first, then
// exchanges the word for 0. Bits set before that exchange are seen by it; bits set after it find 0 and list the call again. The list's lock
// orders the rest. A call on the list is held by a reference that post() took and the goroutine drops.
#pragma once
#include <cstdint>
#include <memory>

#include "netpoll/event.h"
#include "runtime/os/mutex.h"

namespace warren::grpcpp {

class call;

class desk {
 public:
  void start(std::shared_ptr<void> keep);  // its goroutine, which holds keep (what this is part of) to its end
  void stop();                             // parks until the goroutine has ended. REQUIRES: no call is left
  // Any thread, and a timer's function.
  void post(call& c, uint32_t bits) noexcept;

 private:
  void loop();

  rt::mutex mutex_;  // guards the following
  call* first_ = nullptr;
  call* last_ = nullptr;
  bool stopping_ = false;

  rt::event news_;
  rt::event ended_;
};

}  // namespace warren::grpcpp

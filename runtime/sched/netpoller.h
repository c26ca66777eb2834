// The scheduler's view of the network poller. netpoll implements it; the runtime builds and passes its tests without one.
#pragma once
#include <cstdint>

#include "runtime/sched/g.h"

namespace warren::rt {

// Who waited for descriptors that became ready together: goroutines, and newborns that were to start then (sync/deferred_go.h). Intrusive,
// as a run queue is.
struct runnable_list {
  runnable* head = nullptr;
  uint32_t size = 0;
  void push(runnable* r) noexcept {
    r->next = head;
    head = r;
    ++size;
  }
  runnable* pop() noexcept {
    runnable* const r = head;
    if (r != nullptr) {
      head = r->next;
      r->next = nullptr;
      --size;
    }
    return r;
  }
  bool empty() const noexcept { return head == nullptr; }
};

class netpoller {
 public:
  virtual ~netpoller() = default;

  // Collects who waited for descriptors that became ready. delay_ns: 0 does not block, < 0 blocks without limit, > 0 blocks at most so
  // long. The scheduler makes at most one blocking call at a time; non-blocking calls may come from several threads at once.
  virtual runnable_list poll(int64_t delay_ns) = 0;

  // Ends a blocking poll early. Any thread, any number of times; calls between two polls may coalesce.
  virtual void wake() = 0;

  // Number of those who wait on the poller now: with none, an otherwise idle program is deadlocked.
  virtual int64_t waiters() const = 0;
};

// Installs the poller of the running runtime, once, from a goroutine (the first listen or dial). The scheduler does not own it; it must
// outlive the runtime (netpoll keeps one per process). A second call with the same poller does nothing, with another is fatal.
void set_netpoller(netpoller* poller);

}  // namespace warren::rt

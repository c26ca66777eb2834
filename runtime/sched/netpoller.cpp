#include "runtime/sched/netpoller.h"

#include "runtime/os/fatal.h"
#include "runtime/os/futex.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/scheduler.h"

namespace warren::rt {

namespace {
// What the runtime polls before a real poller is installed: it knows no descriptors and merely waits for the next timer.
class timer_only_poller final : public netpoller {
 public:
  runnable_list poll(int64_t delay_ns) override {
    if (delay_ns != 0) {
      event_.sleep(delay_ns);
      event_.clear();
    }
    return {};
  }
  void wake() override { event_.wakeup(); }
  int64_t waiters() const override { return 0; }

 private:
  note event_;
};
}  // namespace

netpoller* default_netpoller() {
  static timer_only_poller poller;
  return &poller;
}

void scheduler::set_netpoller(netpoller* poller) {
  netpoller* before = default_netpoller();
  if (poller_.compare_exchange_strong(before, poller, std::memory_order_seq_cst)) {
    default_netpoller()->wake();  // whoever waits there goes on at the new one
    return;
  }
  if (before != poller) fatal("set_netpoller: another network poller is installed already; one program has one");
}

void set_netpoller(netpoller* poller) {
  m* mp = rt_enter();
  scheduler* s = mp->sched;
  rt_leave(mp);
  s->set_netpoller(poller);
}

}  // namespace warren::rt

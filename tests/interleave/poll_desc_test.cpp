// How a goroutine waits for a descriptor: netpoll/poll_desc.cpp as it is, between a reader, the kernel's edge, close and deadlines.
//
// The kernel is one atomic word that says whether there is data; it is read and written by read-modify-writes, as under a socket's lock.
#include "netpoll/poll_desc.h"

#include <gtest/gtest.h>

#include "goroutines.h"
#include "netpoll/poller.h"
#include "runtime/sched/scheduler.h"
#include "subject.h"

namespace warren::rt {

namespace {
class no_poller final : public poller {
 public:
  int add(int, uint64_t) noexcept override { return 0; }
  statistics stats() const noexcept override { return {}; }
  g_list poll(int64_t) noexcept override { return {}; }
  void wake() noexcept override {}
};
no_poller the_poller;
alignas(scheduler) std::byte a_scheduler[sizeof(scheduler)];  // only its address is asked for
}  // namespace

std::atomic<poller*> poller::made_{&the_poller};
std::atomic<uint64_t> scheduler::runs_{1};
std::atomic<scheduler*> scheduler::running_{reinterpret_cast<scheduler*>(a_scheduler)};

namespace {

using interleave::go;
using interleave::outcome;
using interleave::require;
using interleave::scenario;

struct socket {
  poll_desc pd;
  std::atomic<int> data{0};  // the kernel's
  poll_error last = poll_error::none;
  int received = 0;

  bool try_receive() noexcept { return data.exchange(0, std::memory_order_acq_rel) != 0; }
  // netpoll/fd.cpp's loop.
  void receive() {
    for (;;) {
      if ((last = pd.prepare(kReadSide)) != poll_error::none) return;
      if (try_receive()) {
        ++received;
        return;
      }
      if ((last = pd.wait(kReadSide)) != poll_error::none) return;
    }
  }
  void arrive() {
    data.exchange(1, std::memory_order_acq_rel);
    edge();
  }
  void edge() {
    g_list ready;
    require(pd.on_event(pd.token(), kReadSide, false, ready), "the event is for this descriptor");
    while (g* gp = ready.pop()) {
      poller::made().add_waiters(-1);
      goready(gp);
    }
  }
};

socket* make_socket(scenario& s) {
  auto* v = s.make<socket>();
  s.name(v, "socket");
  return v;
}
void nobody_waits() { require(poller::made().waiters() == 0, "the number of waiters is not zero again"); }

void data_arrives(scenario& s) {
  auto* v = make_socket(s);
  go(s, "reader", [=] { v->receive(); });
  s.thread("poller", [=] { v->arrive(); });
  s.at_end([=] {
    require(v->received == 1, "the data was received");
    nobody_waits();
  });
}

// An edge of old data is remembered; then new data comes.
void data_arrives_twice(scenario& s) {
  auto* v = make_socket(s);
  v->edge();
  go(s, "reader", [=] {
    v->receive();
    v->receive();
  });
  s.thread("poller", [=] {
    v->arrive();
    interleave::wait_until([=] { return v->received == 1; }, "the first to be received");
    v->arrive();
  });
  s.at_end([=] {
    require(v->received == 2, "both were received");
    nobody_waits();
  });
}

void closed_while_waiting(scenario& s) {
  auto* v = make_socket(s);
  go(s, "reader", [=] { v->receive(); });
  s.thread("closer", [=] { v->pd.evict(); });
  s.at_end([=] {
    require(v->last == poll_error::closing, "the reader learns of the close");
    nobody_waits();
  });
}

void closed_as_data_arrives(scenario& s) {
  auto* v = make_socket(s);
  go(s, "reader", [=] { v->receive(); });
  s.thread("closer", [=] { v->pd.evict(); });
  s.thread("poller", [=] { v->arrive(); });
  s.at_end([=] {
    require((v->received == 1) != (v->last == poll_error::closing), "either data or the close");
    nobody_waits();
  });
}

// A deadline in the past is set while the reader may wait.
void deadline_moves_to_the_past(scenario& s) {
  auto* v = make_socket(s);
  go(s, "reader", [=] { v->receive(); });
  s.thread("setter", [=] { v->pd.set_deadline(1, kReadSide); });
  s.at_end([=] {
    require(v->last == poll_error::timeout, "the reader learns of the deadline");
    nobody_waits();
  });
}

// A timer at work: the deadline passes or the data comes, and the timer is stopped in time.
void timer_or_data(scenario& s) {
  auto* v = make_socket(s);
  v->pd.set_deadline(interleave::now() + 4'000, kReadSide);
  go(s, "reader", [=] { v->receive(); });
  s.thread("poller", [=] { v->arrive(); });
  s.at_end([=] {
    require((v->received == 1) != (v->last == poll_error::timeout), "either data or the deadline");
    nobody_waits();
  });
}

constexpr interleave::subject kSubjects[] = {
    {"DataArrives", data_arrives, {.preemptions = 4, .weak = 1}},
    {"ClosedWhileWaiting", closed_while_waiting, {.preemptions = 4, .weak = 1}},
    {"DeadlineMovesToThePast", deadline_moves_to_the_past, {.preemptions = 3, .weak = 1}},
    {"DataArrivesTwice", data_arrives_twice, {.preemptions = 3, .weak = 1}},
    {"TimerOrData", timer_or_data, {.preemptions = 2, .weak = 1}},
    {"ClosedAsDataArrives", closed_as_data_arrives, {.preemptions = 2, .weak = 1}},
};
INTERLEAVE_SUBJECTS(PollDesc, kSubjects)

}  // namespace
}  // namespace warren::rt

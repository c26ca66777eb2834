// How a goroutine waits for a descriptor: netpoll/poll_desc.cpp as it is, between a reader, the kernel's edge, close and deadlines.
//
// The kernel is one atomic word that says whether there is data; it is read and written by read-modify-writes, as under a socket's lock.
#include "netpoll/poll_desc.h"

#include <gtest/gtest.h>

#include "goroutines.h"
#include "netpoll/poller.h"
#include "runtime/sched/scheduler.h"
#include "runtime/sync/deferred_go.h"
#include "subject.h"

namespace warren::rt {

namespace {
class no_poller final : public poller {
 public:
  int add(int, uint64_t) noexcept override { return 0; }
  statistics stats() const noexcept override { return {}; }
  runnable_list poll(int64_t) noexcept override { return {}; }
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

struct rest_of_reading : detail::newborn {
  std::atomic<int> started{0};  // how often
};

struct socket {
  poll_desc pd;
  rest_of_reading rest;           // see receive_or_leave
  std::atomic<bool> left{false};  // the reader has returned without data
  std::atomic<int> data{0};       // the kernel's
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
  // As receive, but where it would park the goroutine ends, and `rest` is to begin. true: it has ended so.
  bool receive_or_leave() {
    for (;;) {
      if ((last = pd.prepare(kReadSide)) != poll_error::none) return false;
      if (try_receive()) {
        ++received;
        return false;
      }
      if (pd.start_when_ready(kReadSide, &rest)) return true;
      if ((last = pd.wait(kReadSide)) != poll_error::none) return false;
    }
  }
  void arrive() {
    data.exchange(1, std::memory_order_acq_rel);
    edge();
  }
  void edge() {
    runnable_list ready;
    require(pd.on_event(pd.token(), kReadSide, false, ready), "the event is for this descriptor");
    while (runnable* r = ready.pop()) {
      poller::made().add_waiters(-1);
      rt::ready(r);
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

// What starts is begun once the reader is gone, and asks again by itself.
void leave_and_be_started(scenario& s, socket* v) {
  v->rest.is_newborn = true;
  go(s, "reader", [=] {
    if (!v->receive_or_leave()) return;
    v->left.store(true, std::memory_order_release);
  });
  go(s, "rest", [=] {
    interleave::wait_until([=] { return v->rest.started.load() != 0 || v->received == 1 || v->last != poll_error::none; }, "the start");
    if (v->rest.started.load() == 0) return;
    v->receive();
  });
}
void started_at_most_once(const socket* v) {
  require(v->rest.started.load() <= 1, "it is started once");
  require(!v->left.load() || v->rest.started.load() == 1, "who has left is followed");
  nobody_waits();
}

void data_starts(scenario& s) {
  auto* v = make_socket(s);
  leave_and_be_started(s, v);
  s.thread("poller", [=] { v->arrive(); });
  s.at_end([=] {
    require(v->received == 1, "the data was received");
    started_at_most_once(v);
  });
}

void close_starts(scenario& s) {
  auto* v = make_socket(s);
  leave_and_be_started(s, v);
  s.thread("closer", [=] { v->pd.evict(); });
  s.at_end([=] {
    require(v->last == poll_error::closing, "whoever reads learns of the close");
    started_at_most_once(v);
  });
}

void close_or_data_starts(scenario& s) {
  auto* v = make_socket(s);
  leave_and_be_started(s, v);
  s.thread("closer", [=] { v->pd.evict(); });
  s.thread("poller", [=] { v->arrive(); });
  s.at_end([=] { started_at_most_once(v); });
}

void deadline_starts(scenario& s) {
  auto* v = make_socket(s);
  leave_and_be_started(s, v);
  s.thread("setter", [=] { v->pd.set_deadline(1, kReadSide); });
  s.at_end([=] {
    require(v->last == poll_error::timeout, "whoever reads learns of the deadline");
    started_at_most_once(v);
  });
}

constexpr interleave::subject kSubjects[] = {
    {"DataStarts", data_starts, {.preemptions = 3, .weak = 1}},
    {"CloseStarts", close_starts, {.preemptions = 3, .weak = 1}},
    {"DeadlineStarts", deadline_starts, {.preemptions = 3, .weak = 1}},
    {"CloseOrDataStarts", close_or_data_starts, {.preemptions = 2, .weak = 1}},
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

// The scheduler's part: the test's goroutine waits for it.
void warren::detail::start_deferred(newborn* nb) noexcept { static_cast<rt::rest_of_reading*>(nb)->started.fetch_add(1); }

// Channels and select, over the model of park and ready: runtime/sync as it is.
#include "warren/chan.h"

#include <gtest/gtest.h>

#include "goroutines.h"
#include "runtime/sched/m.h"
#include "runtime/sync/hchan.h"
#include "subject.h"
#include "warren/select.h"

namespace warren {
namespace {

using interleave::go;
using interleave::memory_model;
using interleave::outcome;
using interleave::require;
using interleave::scenario;
using interleave::weakening;

struct state {
  explicit state(size_t capacity) : a(make_chan<int>(capacity)), b(make_chan<int>(capacity)) {}
  chan<int> a, b;
  int got = 0;    // sum
  int count = 0;  // written by one goroutine
  int closed = 0;
};

state* two_channels(scenario& s, size_t capacity) {
  auto* v = s.make<state>(capacity);
  s.name(v->a.raw(), "a");
  s.name(v->b.raw(), "b");
  return v;
}

void nobody_waits(state* v) {
  for (auto* c : {v->a.raw(), v->b.raw()}) require(c->recvq.length() + c->sendq.length() == 0, "a waiter is left in a queue");
}

template <size_t kCapacity, int kValues>
void one_to_one(scenario& s) {
  auto* v = two_channels(s, kCapacity);
  go(s, "sender", [=] {
    for (int i = 1; i <= kValues; ++i) v->a.send(i);
  });
  go(s, "receiver", [=] {
    for (int i = 1; i <= kValues; ++i) require(v->a.recv() == i, "values arrive in order, once");
  });
  s.at_end([=] { nobody_waits(v); });
}

void two_senders(scenario& s) {
  auto* v = two_channels(s, 0);
  go(s, "sender 1", [=] { v->a.send(1); });
  go(s, "sender 2", [=] { v->a.send(2); });
  go(s, "receiver", [=] {
    v->got += *v->a.recv();
    v->got += *v->a.recv();
  });
  s.at_end([=] {
    require(v->got == 3, "each value arrives once");
    nobody_waits(v);
  });
}

// A receiver in the queue, one on its way, and close.
void close_wakes_all(scenario& s) {
  auto* v = two_channels(s, 0);
  for (const char* name : {"receiver 1", "receiver 2"}) go(s, name, [=] { require(!v->a.recv().has_value(), "a value that nobody sent"); });
  go(s, "closer", [=] { v->a.close(); });
  s.at_end([=] { nobody_waits(v); });
}

void close_after_send(scenario& s) {
  auto* v = two_channels(s, 1);
  go(s, "sender", [=] {
    v->a.send(1);
    v->a.send(2);
    v->a.close();
  });
  go(s, "receiver", [=] {
    require(v->a.recv() == 1, "first value");
    require(v->a.recv() == 2, "second value");
    require(!v->a.recv().has_value(), "then the end");
  });
  s.at_end([=] { nobody_waits(v); });
}

void shuffle_anyhow() { rt::getm()->random = 1 + interleave::choose(2) * 0x12345; }

void select_receives_from_two(scenario& s) {
  auto* v = two_channels(s, 0);
  go(s, "selector", [=] {
    shuffle_anyhow();
    for (int i = 0; i < 2; ++i)
      select(recv(v->a, [=](std::optional<int> x) { v->got += *x; }), recv(v->b, [=](std::optional<int> x) { v->got += *x; }));
  });
  go(s, "sender a", [=] { v->a.send(1); });
  go(s, "sender b", [=] { v->b.send(2); });
  s.at_end([=] {
    require(v->got == 3, "each value arrives once");
    nobody_waits(v);
  });
}

// Two selects meet: one sends on either, one receives from either.
void select_meets_select(scenario& s) {
  auto* v = two_channels(s, 0);
  go(s, "receives", [=] {
    shuffle_anyhow();
    select(recv(v->a, [=](std::optional<int> x) { v->got += *x; }), recv(v->b, [=](std::optional<int> x) { v->got += *x; }));
  });
  go(s, "sends", [=] {
    shuffle_anyhow();
    select(send(v->a, 1), send(v->b, 2));
  });
  s.at_end([=] {
    require(v->got == 1 || v->got == 2, "exactly one value arrives");
    nobody_waits(v);
  });
}

void select_or_close(scenario& s) {
  auto* v = two_channels(s, 0);
  go(s, "selector", [=] {
    shuffle_anyhow();
    select(recv(v->a, [=](std::optional<int> x) { v->closed += !x; }), recv(v->b, [=](std::optional<int> x) { v->closed += !x; }));
  });
  go(s, "closer a", [=] { v->a.close(); });
  go(s, "closer b", [=] { v->b.close(); });
  s.at_end([=] {
    require(v->closed == 1, "one end is noticed");
    nobody_waits(v);
  });
}

void select_with_timeout(scenario& s) {
  auto* v = two_channels(s, 0);
  go(s, "selector", [=] {
    bool late = false;
    select(recv(v->a, [=](std::optional<int> x) { v->got += *x; }), after(std::chrono::seconds(1), [&] { late = true; }));
    if (late) require(v->a.recv() == 7, "the value can still be had");
  });
  go(s, "sender", [=] { v->a.send(7); });
  s.at_end([=] { nobody_waits(v); });
}

constexpr interleave::limits kSmall{.preemptions = 2, .weak = 1};
constexpr interleave::limits kLarge{.preemptions = 1, .weak = 1};
constexpr interleave::subject kSubjects[] = {
    {"Unbuffered", one_to_one<0, 2>, kSmall},
    {"Buffered", one_to_one<1, 3>, kSmall},
    {"TwoSenders", two_senders, kLarge},
    {"CloseWakesAll", close_wakes_all, kLarge},
    {"CloseAfterSend", close_after_send, kSmall},
    {"SelectReceivesFromTwo", select_receives_from_two, kLarge},
    {"SelectMeetsSelect", select_meets_select, kLarge},
    {"SelectOrClose", select_or_close, kLarge},
    {"SelectWithTimeout", select_with_timeout, kLarge},
};
INTERLEAVE_SUBJECTS(Chan, kSubjects)

constexpr interleave::mistake kMistakes[] = {
    {{"chan_lock.h", "word_.store(0, std::memory_order_release)", weakening::relaxed}, outcome::data_race},
    {{"chan_lock.h", "word_.compare_exchange_strong(free, 1, std::memory_order_acquire", weakening::no_acquire}, outcome::data_race},
};
INTERLEAVE_MISTAKES(Chan, kSubjects, kMistakes)

}  // namespace
}  // namespace warren

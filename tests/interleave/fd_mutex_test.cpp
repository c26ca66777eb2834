// Who may use a descriptor, and who closes it: netpoll/fd_mutex.cpp as it is.
#include "netpoll/fd_mutex.h"

#include <gtest/gtest.h>

#include "goroutines.h"
#include "subject.h"

namespace warren::rt {
namespace {

using interleave::go;
using interleave::outcome;
using interleave::require;
using interleave::scenario;
using interleave::weakening;

struct file {
  fd_mutex m;
  int reads = 0;  // guarded by the read lock
  int refused = 0;
  std::atomic<int> closed{0};
  int users = 0;  // written by whoever destroys

  void read_once() {
    if (!m.lock(true)) return;
    ++reads;
    done(m.unlock(true));
  }
  void done(bool last) {
    if (!last) return;
    users = 1;  // everybody's use happened before
    closed.fetch_add(1, std::memory_order_relaxed);
  }
  void close() {
    if (m.close()) done(m.decref());
  }
};

file* make_file(scenario& s) {
  auto* f = s.make<file>();
  s.name(f, "fd_mutex");
  return f;
}

template <int kReaders>
void readers(scenario& s) {
  auto* f = make_file(s);
  constexpr const char* kNames[] = {"a", "b", "c"};
  for (int i = 0; i < kReaders; ++i) go(s, kNames[i], [=] { f->read_once(); });
  s.at_end([=] {
    require(f->reads == kReaders, "every reader had its turn");
    f->close();
    require(f->closed.load(std::memory_order_relaxed) == 1, "closed by the last");
  });
}

void readers_and_close(scenario& s) {
  auto* f = make_file(s);
  for (const char* name : {"a", "b"}) go(s, name, [=] { f->read_once(); });
  go(s, "closer", [=] { f->close(); });
  s.at_end([=] { require(f->closed.load(std::memory_order_relaxed) == 1, "closed exactly once"); });
}

void two_close(scenario& s) {
  auto* f = make_file(s);
  go(s, "user", [=] {
    if (f->m.incref()) f->done(f->m.decref());
  });
  for (const char* name : {"closer a", "closer b"}) go(s, name, [=] { f->close(); });
  s.at_end([=] { require(f->closed.load(std::memory_order_relaxed) == 1, "closed exactly once"); });
}

constexpr interleave::subject kSubjects[] = {
    {"TwoReaders", readers<2>, {.preemptions = 3, .weak = 1}},
    {"ThreeReaders", readers<3>, {.preemptions = 1, .weak = 1}},
    {"ReadersAndClose", readers_and_close, {.preemptions = 2, .weak = 1}},
    {"TwoClose", two_close, {.preemptions = 3, .weak = 1}},
};
INTERLEAVE_SUBJECTS(FdMutex, kSubjects)

constexpr interleave::mistake kMistakes[] = {
    {{"fd_mutex.cpp",
      "if (state_.compare_exchange_weak(s, next, std::memory_order_acq_rel, std::memory_order_relaxed)) return is_last(next);",
      weakening::no_release},
     outcome::data_race},
    {{"fd_mutex.cpp", "while (!state_.compare_exchange_weak(s, (s | bit) + kReference, std::memory_order_acquire", weakening::no_acquire},
     outcome::data_race},
};
INTERLEAVE_MISTAKES(FdMutex, kSubjects, kMistakes)

}  // namespace
}  // namespace warren::rt

// The interleaving checker: runs a small concurrent program in every way that a few preemptions and a weak memory can make it run.
//
//   const auto r = interleave::explore([](interleave::scenario& s) {
//     auto* q = s.make<queue>();                      // anew for every execution
//     s.thread("owner", [=] { q->put(1); });
//     s.thread("thief", [=] { taken(q->steal()); });
//     s.at_end([=] { interleave::require(q->empty(), "something is left"); });
//   });
//   EXPECT_EQ(r.kind, interleave::outcome::passed) << r;
//
// The program is ordinary C++ with std::atomic and plain variables; whatever of it was compiled into a target made by
// warren_add_interleaving (tests/interleave/CMakeLists.txt) is seen by the checker, access by access. engine/execution.cpp says how
// executions are chosen, engine/memory.h what the memory may do, engine/hooks.cpp how the accesses come here.
//
// The setup and everything it calls must be deterministic but for choose(): no clocks, no real threads, no addresses from malloc (operator
// new is the checker's while a scenario runs, and gives the same addresses each time).
#pragma once
#include <cstddef>
#include <cstdint>
#include <new>
#include <ostream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace interleave {

enum class outcome : uint8_t {
  passed,          // all executions within the bounds were looked at, and nothing was wrong
  assertion,       // a require() did not hold
  data_race,       // two accesses of a plain variable, one of them a write, neither happens before the other
  deadlock,        // everybody waits: a lost wake-up, or a cycle of locks
  livelock,        // somebody spins and nobody is left to change what it waits for, or too many steps
  use_after_free,  // of memory from operator new
  fatal,           // the code under test called its own fatal()
  unfinished,      // limits::executions was reached before all were looked at
};
const char* to_string(outcome o) noexcept;
inline std::ostream& operator<<(std::ostream& out, outcome o) { return out << to_string(o); }

// What a load may return. See engine/memory.h.
enum class memory_model : uint8_t {
  sequential,  // always the newest value
  x86,         // every access acquire or release, every read-modify-write a full fence: a little weaker than the processor
  cxx20,       // what the C++20 memory orders in the source say, but for loads that see stores from their own future
};

struct limits {
  memory_model memory = memory_model::cxx20;
  int preemptions = 2;              // switches away from a thread that could go on. Those at a wait or at the end are free.
  int weak = 2;                     // loads that do not return the newest value, weak compare-exchanges that fail for no reason
  uint64_t executions = 5'000'000;  // give up after so many: outcome::unfinished
  uint32_t steps = 20'000;          // of one execution, beyond: livelock
  const char* replay = nullptr;     // a result's schedule: run this one execution
};

struct result {
  outcome kind = outcome::passed;
  std::string what;         // one line
  std::string trace;        // the failing execution, step by step
  std::string schedule;     // to replay it
  uint64_t executions = 0;  // looked at
  int preemptions = 0;      // needed by the failure
  uint64_t longest = 0;     // steps of the longest execution
};
std::ostream& operator<<(std::ostream& out, const result& r);

// A mistake that is seeded while the program runs: the atomic operations and fences on the source line are taken for weaker ones.
struct weakening {
  const char* file;                                                               // end of the path, "run_queue.cpp"
  const char* text;                                                               // something that occurs in the line
  enum what : uint8_t { relaxed, no_acquire, no_release, dropped } to = relaxed;  // dropped: fences only
};

class scenario {
 public:
  // A thread of the scenario. They start when the setup has returned, in any order; what setup did happens before them.
  template <class F>
  void thread(const char* name, F f) {
    add_thread(name, &call<F>, keep(std::move(f)));
  }
  // Runs after all threads have ended, which all happen before it.
  template <class F>
  void at_end(F f) {
    add_end(&call<F>, keep(std::move(f)));
  }
  // An object for one execution; its destructor is not called.
  template <class T, class... A>
  T* make(A&&... a) {
    return new T(std::forward<A>(a)...);
  }
  // What traces call a variable.
  void name(const volatile void* address, const char* name);

 private:
  template <class F>
  static void call(void* f) {
    (*static_cast<F*>(f))();
  }
  template <class F>
  static void* keep(F f) {
    return new F(std::move(f));
  }
  void add_thread(const char* name, void (*fn)(void*), void* arg);
  void add_end(void (*fn)(void*), void* arg);
};

result explore_erased(void (*setup)(void*, scenario&), void* arg, const limits& l, const weakening* mistake);

template <class F>
result explore(F setup, const limits& l = {}) {
  return explore_erased([](void* f, scenario& s) { (*static_cast<F*>(f))(s); }, &setup, l, nullptr);
}
// With one seeded mistake. If no line of the program that was executed matches, kind is `unfinished` and `what` says so.
template <class F>
result explore(F setup, const weakening& mistake, const limits& l = {}) {
  return explore_erased([](void* f, scenario& s) { (*static_cast<F*>(f))(s); }, &setup, l, &mistake);
}

// fn is called before every execution: for models that keep something in globals.
void before_each_execution(void (*fn)());
// fn(tid) is called in place of the system call when the program sends a signal to a thread (tgkill).
void at_tgkill(void (*fn)(int tid));
// fn(t) is called whenever thread t of the scenario begins to run, at first and after every switch.
void at_each_switch(void (*fn)(int thread));

// --- what the program may call while it runs --------------------------------------------------------------------------------------

// Ends the execution as failed. The text may be a temporary.
void require(bool holds, const char* text);
[[noreturn]] void fail(outcome kind, const char* text);
// Any of 0 … n-1; every one is tried.
unsigned choose(unsigned n);
// Number of the running thread of the scenario, counted from 1; 0 in setup and at_end.
int current_thread() noexcept;
// Is a scenario being executed by the caller?
bool running() noexcept;
// A place where another thread may run although nothing atomic is done here.
void step();
// Lets all others run first.
void yield();
// Blocks the thread until holds(arg). The predicate sees the newest values, is called often, in no particular thread, and must not change
// anything. Orders nothing: use `event` for that.
void wait_until(bool (*holds)(void*), void* arg, const char* why);
template <class F>
void wait_until(F holds, const char* why) {
  wait_until([](void* f) -> bool { return (*static_cast<F*>(f))(); }, &holds, why);
}
// A thread born in the middle. daemon: the execution does not wait for its end.
void spawn(const char* name, void (*fn)(void*), void* arg, bool daemon = false);
// membarrier(PRIVATE_EXPEDITED): every other thread executes a full fence at some moment before it returns.
void membarrier();
// A time that goes on by a microsecond at each look.
int64_t now() noexcept;
// A line for the trace.
void note(const char* format, ...) __attribute__((format(printf, 1, 2)));

// A primitive of the model, for what stands outside the program (a scheduler, a kernel): what precedes signal() happens before what follows
// the wait() that sees it.
class event {
 public:
  void signal();
  bool is_set() const noexcept { return set_; }
  void wait(const char* why);
  void clear() noexcept { set_ = false; }

 private:
  bool set_ = false;
  void* view_ = nullptr;
};

}  // namespace interleave

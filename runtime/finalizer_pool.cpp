#include "runtime/finalizer_pool.h"

#include <cxxabi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <exception>
#include <typeinfo>

#include "runtime/gc/cleanup.h"
#include "runtime/gc/weak.h"
#include "runtime/memory.h"
#include "runtime/os/clock.h"
#include "runtime/os/fatal.h"
#include "runtime/sched/in_rt.h"
#include "warren/cleanup.h"
#include "warren/go.h"

namespace warren::rt {

std::atomic<int64_t> finalizer_patience_for_testing{kPatience};

namespace {

// What a runner is at, for those who watch.
struct runner {
  std::atomic<bool> taken{false};
  std::atomic<int64_t> since{0};  // nanotime when it began; 0: at nothing
  std::atomic<const char*> type{""};
  std::atomic<const char*> kind{""};
  std::atomic<uint64_t> goroutine{0};
  std::atomic<int64_t> reported{0};  // the `since` that was reported
};
runner runners[kMostRunners];

size_t ready() noexcept { return memory().gc.finalizers().waiting() + memory().gc.cleanups().ready(); }

// The T of a type_descriptor's name, "… [with T = foo]" or "… [T = foo]".
struct short_name {
  char text[128];
  explicit short_name(const char* pretty) noexcept {
    const char* from = strstr(pretty, "T = ");
    from = from == nullptr ? pretty : from + 4;
    size_t n = strlen(from);
    if (n > 0 && from[n - 1] == ']') --n;
    if (n >= sizeof text) n = sizeof text - 1;
    memcpy(text, from, n);
    text[n] = '\0';
  }
};

void report_exception(const char* kind, const char* type) noexcept {
  char what[256] = "";
  const char* thrown = "an unknown type";
  int status = -1;
  char* demangled = nullptr;
  if (const std::type_info* t = abi::__cxa_current_exception_type()) {
    demangled = abi::__cxa_demangle(t->name(), nullptr, nullptr, &status);
    thrown = status == 0 ? demangled : t->name();
  }
  try {
    throw;
  } catch (const std::exception& e) {
    snprintf(what, sizeof what, ": %s", e.what());
  } catch (...) {
  }
  print_error("warren: the %s of %s threw %s%s; it is given up, others run on: catch it inside\n", kind, short_name(type).text, thrown,
              what);
  free(demangled);
}

// Runs one thing. false: there was none.
bool run_one(runner& r) {
  finalizer f;
  if (memory().gc.finalizers().take(&f)) {
    r.kind.store("destructor", std::memory_order_relaxed);
    r.type.store(f.type, std::memory_order_relaxed);
    r.since.store(nanotime(), std::memory_order_release);
    try {
      f.destroy(f.object);  // the object is reachable from here alone: f lies on this stack
    } catch (...) {
      report_exception("destructor", f.type);
    }
    r.since.store(0, std::memory_order_release);
    return true;
  }
  detail::root_cell* const cell = memory().gc.cleanups().take();
  if (cell == nullptr) return false;
  void* const box = detail::root_get(cell);  // on this stack, so kept
  detail::root_delete(cell);
  const detail::cleanup_type* const type = *static_cast<const detail::cleanup_type* const*>(box);
  r.kind.store("cleanup", std::memory_order_relaxed);
  r.type.store(type->name, std::memory_order_relaxed);
  r.since.store(nanotime(), std::memory_order_release);
  try {
    type->call(box);
  } catch (...) {
    report_exception("cleanup", type->name);
  }
  type->destroy(box);
  r.since.store(0, std::memory_order_release);
  return true;
}

runner* take_runner() noexcept {
  for (runner& r : runners) {
    bool free = false;
    if (r.taken.compare_exchange_strong(free, true, std::memory_order_acq_rel)) return &r;
  }
  return nullptr;
}

void run_all(runner* r) {
  r->goroutine.store(goroutine_id(), std::memory_order_relaxed);
  for (;;) {
    while (run_one(*r)) {
    }
    r->taken.store(false, std::memory_order_seq_cst);
    // Something may have become ready after we looked and before others saw that we are gone.
    if (ready() == 0) return;
    bool free = false;
    if (!r->taken.compare_exchange_strong(free, true, std::memory_order_acq_rel)) return;  // somebody else took it, for a new goroutine
  }
}

void look_at_runners() noexcept {
  const int64_t now = nanotime();
  const int64_t patience = finalizer_patience_for_testing.load(std::memory_order_relaxed);
  int busy = 0;
  for (const runner& r : runners) busy += r.taken.load(std::memory_order_relaxed) ? 1 : 0;
  for (runner& r : runners) {
    int64_t since = r.since.load(std::memory_order_acquire);
    if (since == 0 || now - since < patience) continue;
    if (r.reported.exchange(since, std::memory_order_relaxed) == since) continue;
    print_error(
        "warren: the %s of %s has been running for %.1f s in goroutine %llu; it blocks one of %d goroutines for finalizers, %d are left, "
        "and %zu objects wait: destructors and cleanups must not wait\n",
        r.kind.load(std::memory_order_relaxed), short_name(r.type.load(std::memory_order_relaxed)).text,
        static_cast<double>(now - since) / 1e9, static_cast<unsigned long long>(r.goroutine.load(std::memory_order_relaxed)), kMostRunners,
        kMostRunners - busy, ready());
  }
}

}  // namespace

void start_finalizers() {
  look_at_runners();
  for (int i = 0; i < kRunnersPerStart && ready() > static_cast<size_t>(i); ++i) {
    runner* const r = take_runner();
    if (r == nullptr) return;
    try {
      go([r] { run_all(r); });
    } catch (...) {  // no memory for a goroutine: the next collection tries again
      r->taken.store(false, std::memory_order_release);
      return;
    }
  }
}

void restart_finalizers() {
  for (runner& r : runners) {  // goroutines of an earlier run are gone, whatever they were at
    r.since.store(0, std::memory_order_relaxed);
    r.taken.store(false, std::memory_order_relaxed);
  }
  start_finalizers();
}

}  // namespace warren::rt

namespace warren::detail {

using namespace rt;

ptr<weak_cell> weak_cell_of(const volatile void* target) {
  const void* const at = const_cast<const void*>(target);
  if (at == nullptr) return {};
  weak_table& table = memory().gc.weaks();
  auto found = [](weak_cell* c) {
    shade_words(&c, sizeof c);  // the table does not keep it
    return ptr<weak_cell>(c);
  };
  if (weak_cell* const c = table.find(at)) return found(c);
  ptr<weak_cell> fresh = make<weak_cell>();
  fresh->target.store(const_cast<void*>(at), std::memory_order_relaxed);
  return found(table.insert(at, fresh.get()));
}

void* lock_weak(const weak_cell* cell) noexcept {
  const critical_section no_stop;
  void* const target = memory().gc.lock_weak(cell);
  shade_words(&target, sizeof target);  // in every mode: the object may be reachable from here alone
  return target;
}

uint64_t add_cleanup(const volatile void* object, void* box, size_t box_bytes) {
  const auto at = reinterpret_cast<uintptr_t>(object);
  // Only the span is asked, not whether the slot is taken: the caller holds the object, and other Ps allocate beside it.
  const mheap& h = memory().heap;
  const mspan* const span = h.contains(at) ? h.span_at(h.page_of(at)) : nullptr;
  if (span == nullptr)
    fatal("add_cleanup: %p is not the address of a collected object: make it with warren::make", reinterpret_cast<void*>(at));
  auto slot_in_span = [&](uintptr_t a) { return (a - span->base) / span->elem_size; };
  const auto* const words = static_cast<const uintptr_t*>(box);
  for (size_t i = 1; i < box_bytes / sizeof(uintptr_t); ++i) {
    const uintptr_t w = words[i];
    if (h.contains(w) && h.span_at(h.page_of(w)) == span && slot_in_span(w) == slot_in_span(at)) {
      fatal(
          "add_cleanup: the cleanup's function or one of its arguments holds the address of the object itself (%p), which would never "
          "become unreachable: pass what the cleanup needs (a number, a name, another object) instead",
          reinterpret_cast<void*>(at));
    }
  }
  root_cell* const cell = root_new(box);
  try {
    return memory().gc.cleanups().add(reinterpret_cast<const void*>(at), cell);
  } catch (...) {
    root_delete(cell);
    throw;
  }
}

bool stop_cleanup(uint64_t id) noexcept {
  root_cell* const cell = memory().gc.cleanups().stop(id);
  if (cell == nullptr) return false;
  void* const box = root_get(cell);
  root_delete(cell);
  (*static_cast<const cleanup_type* const*>(box))->destroy(box);
  return true;
}

}  // namespace warren::detail

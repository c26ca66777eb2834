// Finalizers: destructors of objects whose type says `using collected = warren::finalized;`.
//
// registered: made and constructed; the table does not keep it alive.
// ready:      a collection found it unreachable. It and all it reaches are kept: its destructor may read them.
// done:       its destructor has run, or runs. Nothing keeps it: the next collection frees it.
// Destructors run unordered, each once, on goroutines that a collection starts when there is something to do (runtime/finalizer_pool.cpp).
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/gc/mark.h"
#include "runtime/os/critical.h"
#include "runtime/os/mapped_array.h"

namespace warren::rt {

struct finalizer {
  void* object = nullptr;
  void (*destroy)(void*) = nullptr;
  const char* type = "";  // contains the type's name, for reports
};

using finalizer_list = mapped_array<finalizer>;

class finalizer_set {
 public:
  // Throws std::bad_alloc.
  void add(finalizer f);
  // Takes one that is ready. false: there is none.
  bool take(finalizer* out) noexcept;

  // What take is to do with an object while a collection marks: the queue is a root, and a word that leaves a root is shaded. World
  // stopped.
  void set_shader(void (*shade)(void* arg, const void* object), void* arg) noexcept {
    shade_ = shade;
    shade_arg_ = arg;
  }
  // Any time.
  void mark_ready(marker& m) noexcept;

  // ---- world stopped ----
  template <class F>
  void for_each_ready(F&& visit) {
    for (size_t i = 0; i < ready_.size(); ++i) visit(ready_.begin()[i].object);
  }
  // After everything reachable was marked: would find_unreachable find any?
  bool any_unreachable(const mheap& h) noexcept;
  // After everything reachable was marked: makes the unmarked ones ready and greys them. Returns how many.
  size_t find_unreachable(mheap& h, marker& m) noexcept;

  size_t waiting() const noexcept { return waiting_.load(std::memory_order_relaxed); }
  uint64_t run() const noexcept { return run_.load(std::memory_order_relaxed); }

 private:
  critical_mutex lock_;
  // Guarded by lock_. ready_ always has room for all of registered_: a collection must not fail to queue.
  finalizer_list registered_, ready_;
  void (*shade_)(void* arg, const void* object) = nullptr;
  void* shade_arg_ = nullptr;
  std::atomic<size_t> waiting_{0};
  std::atomic<uint64_t> run_{0};
};

}  // namespace warren::rt

// Where goroutines come from and go to: newborns, stacks with their g, ids.
//
// A goroutine costs 128 bytes until it runs first (a newborn). Then it gets a stack: preferably that of the goroutine that ended last on
// the same P, whose top page is in the cache; else one from the P's list of dead goroutines, the pool's list, the emptied ones, or the
// stack arena. The g lies in the stack's top page.
//
// Emptied ones. A burst leaves dead goroutines behind, a page and more each. trim() gives back the memory of those that nobody needed since
// the last trim, g included. What the system then shows there is zeros, and a g of zeros is a dead g: whoever goes through all of them
// (the collector, a dump, the scavenger) needs no protocol. But a list cannot be linked through them: their numbers stand in an array.
#pragma once
#include <atomic>
#include <cstdint>

#include "runtime/os/mutex.h"
#include "runtime/sched/g.h"
#include "runtime/sched/newborn_pool.h"
#include "runtime/stack/stack_arena.h"

namespace warren::rt {

struct p;

class goroutine_pool {
 public:
  goroutine_pool();
  ~goroutine_pool();

  newborn_pool& newborns() noexcept { return newborns_; }

  // ---- goroutines with stacks. Called by the owner of pp on its g0. ----
  // A dead g of that stack class, its fiber ready to be started. Fatal when no stack is to be had.
  g* g_get(p* pp, uint8_t stack_class);
  void g_put(p* pp, g* gp) noexcept;

  uint64_t next_goid(p* pp) noexcept;

  // Every g that ever had a stack, in order of creation. Entries are never removed; readers need no lock.
  uint32_t g_count() const noexcept { return g_count_.load(std::memory_order_acquire); }
  g* g_at(uint32_t i) const noexcept { return all_g_[i]; }

  // Gives back the memory of dead goroutines that were not needed since the last call, in all but what a lull should keep. Returns how
  // many. One caller at a time, on any thread.
  size_t trim() noexcept;
  // How many were given back and have not been used again.
  size_t emptied() const noexcept;

  stack_arena& stacks() noexcept { return stacks_; }

 private:
  // Of one stack class.
  struct dead_list {
    g* first = nullptr;
    size_t count = 0;
    size_t least = 0;             // of count, since the last trim
    uint32_t* emptied = nullptr;  // numbers of g_at: a stack with the lowest on top; beyond emptied_count trim's work space
    size_t emptied_count = 0;
  };

  g* make_g(std::byte* slot, uint8_t stack_class);
  void give_back(int cls, size_t n) noexcept;

  stack_arena stacks_;
  newborn_pool newborns_;

  mutable mutex lock_;
  dead_list dead_[kStackClasses];  // guarded by lock_

  size_t table_bytes_ = 0;
  g** all_g_;  // a reservation: grows in place
  std::atomic<uint32_t> g_count_{0};
  std::atomic<uint64_t> goid_{0};
};

}  // namespace warren::rt

// Where goroutines come from and go to: newborns, stacks with their g, ids.
//
// A goroutine costs 128 bytes until it runs first (a newborn). Then it gets a stack: preferably that of the goroutine that ended last on
// the same P, whose top page is in the cache; else one from the P's list of dead goroutines, the pool's list, or the stack arena. The g
// lies in the stack's top page.
#pragma once
#include <atomic>
#include <cstdint>
#include <vector>

#include "runtime/os/mutex.h"
#include "runtime/sched/g.h"
#include "runtime/stack/stack_arena.h"

namespace warren::rt {

struct p;

class goroutine_pool {
 public:
  goroutine_pool();
  ~goroutine_pool();

  // ---- newborns. Called by the owner of pp, in a bracket. ----
  detail::newborn* newborn_get(p* pp);  // throws std::bad_alloc
  void newborn_put(p* pp, detail::newborn* nb) noexcept;

  // ---- goroutines with stacks. Called by the owner of pp on its g0. ----
  // A dead g of that stack class, its fiber ready to be started. Fatal when no stack is to be had.
  g* g_get(p* pp, uint8_t stack_class);
  void g_put(p* pp, g* gp) noexcept;

  uint64_t next_goid(p* pp) noexcept;

  // Every g that ever had a stack, in order of creation. Entries are never removed; readers need no lock.
  uint32_t g_count() const noexcept { return g_count_.load(std::memory_order_acquire); }
  g* g_at(uint32_t i) const noexcept { return all_g_[i]; }

  // REQUIRES: world stopped. Calls visit(nb) for every newborn that holds a closure.
  template <class F>
  void for_each_newborn(F&& visit) {
    for (const slab& s : slabs_)
      for (uint32_t i = 0; i < s.count; ++i)
        if (s.items[i].type != nullptr) visit(s.items[i]);
  }

  stack_arena& stacks() noexcept { return stacks_; }

 private:
  struct slab {
    detail::newborn* items;
    uint32_t count;
  };

  g* make_g(std::byte* slot, uint8_t stack_class);

  stack_arena stacks_;

  mutex lock_;
  // Guarded by lock_.
  std::vector<slab> slabs_;
  detail::newborn* free_newborns_ = nullptr;
  g* dead_[kStackClasses] = {};

  g** all_g_;  // a reservation: grows in place
  std::atomic<uint32_t> g_count_{0};
  std::atomic<uint64_t> goid_{0};
};

}  // namespace warren::rt

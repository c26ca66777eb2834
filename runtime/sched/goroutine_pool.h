// Where goroutines come from and go to: newborns, stacks with their g, ids.
//
// A goroutine costs 128 bytes until it runs first (a newborn). Then it gets a stack: preferably that of the goroutine that ended last on
// the same P, whose top page is in the cache; else one from the P's list of dead goroutines, the class's pool, the P's page cache, or the
// stack arena (the levels: stack/stack_arena.cpp). The g lies in the stack's top page.
//
// What a burst leaves behind. Dead goroutines in the pool cost a page and more each. Those that nobody has needed since the last trim()
// leave the pool: their stacks become free pages of the stack arena, as they are, and the heap's scavenger gives their memory back when it
// gets to it, g included. What the system then shows there is zeros, and a g of zeros is a dead g: whoever goes through all of them (the
// collector, a dump, the scavenger of stacks) needs no protocol, and whoever takes the slot again finds a dead g there in any case.
#pragma once
#include <atomic>
#include <cstdint>

#include "runtime/os/critical.h"
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

  // World stopped: the free stacks that pp has put aside go back to the arena, where the scavenger finds them. (The dead goroutines of pp
  // stay: it has at most 64, and they are what it needs next.)
  void flush(p* pp) noexcept;

  uint64_t next_goid(p* pp) noexcept;

  // Every g that ever had a stack, in order of creation. Entries are never removed; readers need no lock.
  uint32_t g_count() const noexcept { return g_count_.load(std::memory_order_acquire); }
  g* g_at(uint32_t i) const noexcept { return all_g_[i]; }

  // Frees the stacks of dead goroutines in the pools: those that were not needed since the last call, in all but what a lull should keep.
  // On any thread, one caller at a time.
  void trim() noexcept;
  // Is there something that the next call would free, if it is not needed until then?
  bool may_trim() const noexcept;
  // For who is short of memory: at once, all but what a lull should keep, or everything. Any thread.
  enum class lull : uint8_t { keep, no };
  void drain(lull l) noexcept;

  stack_arena& stacks() noexcept { return stacks_; }

 private:
  friend struct gdb_access;

  // Of one stack class.
  struct dead_list {
    g* first = nullptr;
    size_t count = 0;
    size_t least = 0;           // of count, since the last trim
    uint8_t* listed = nullptr;  // by number of the slot: its g is in the table. Belongs to who has the slot
  };

  g* g_get_slow(p* pp, uint8_t stack_class);
  void give_away(p* pp) noexcept;
  void put_into_pool(g* gp) noexcept;
  g* place_g(uint8_t stack_class, size_t number);
  void free_dead(int cls, size_t n) noexcept;

  stack_arena stacks_;
  newborn_pool newborns_;

  mutable critical_mutex lock_;    // a goroutine may drain
  dead_list dead_[kStackClasses];  // guarded by lock_

  size_t table_bytes_ = 0;
  g** all_g_;  // a reservation: grows in place
  std::atomic<uint32_t> g_count_{0};
  std::atomic<uint64_t> goid_{0};
};

}  // namespace warren::rt

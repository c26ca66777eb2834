// mallocgc: the way from `make` into the heap.
//
//   bracket in → the P's mcache → (fast) a slot of the span at hand → bracket out
//                              → (slow) refill; if the heap has grown to its goal, collect first, outside the bracket
//                                       a large object's memory is zeroed outside the bracket, a safepoint after each piece
//
// The fast path is straight-line: enter, the span of the type's class, count trailing zeros, zero, leave. Seven of its loads depend on each
// other, but that overlaps with what the program does before and after; what it costs is its instructions. So it asks for nothing that
// somebody can know beforehand:
//   - the M has the mcache of its P beside it (cache_at_hand). There is none where there is no P, and none under WARREN_GCSTRESS
//   - a type knows its span class
//   - slots are counted by the group, not one by one (mspan.h)
//   - a small slot is zeroed, also if it is zero: to ask costs as much. Two stores do for one of up to 32 bytes
//   - whether a collection marks is in the mcache, since it changes while the world stands, which no bracket is in
// All that together: 38 instructions an object instead of 55 in binary_trees/16, whose processor time is 6 % less.
//
// Everything that is rare is behind one test of the span's free slots: the goal of the collector is looked at on refills and large
// allocations only, as are requests to stop (a loop that does nothing but allocate reaches a safepoint there).
//
// The address is in a register or on the stack of the caller from the moment the slot is taken, so a collection that begins right after
// finds it.
#include <new>

#include "runtime/heap/allocate.h"
#include "runtime/memory.h"
#include "runtime/os/fatal.h"
#include "runtime/sched/in_rt.h"

namespace warren::rt {

namespace {

gc_trigger trigger_of(const type_descriptor& t, size_t bytes) noexcept {
  if (bytes > kMaxSmallSize) return gc_trigger::large;
  return is_tiny(t, bytes) ? gc_trigger::tiny : gc_trigger::small;
}

std::atomic<uint64_t> stress_count{0};

void finish(large_object o) noexcept {
  while (o.finish_piece()) {
    if (auto* const hook = between_pieces_for_testing.load(std::memory_order_relaxed)) hook();
    safepoint();
  }
}

[[gnu::noinline]] void* malloc_slow(size_t bytes, const type_descriptor& t, size_t count) {
  memory_manager& mm = memory();
  const uint64_t stress = mm.options.stress;
  if (stress != 0 && stress_count.fetch_add(1, std::memory_order_relaxed) % stress == stress - 1) run_gc(trigger_of(t, bytes));
  if (mm.gc.phase() == gc_phase::off) {
    if (mm.heap.should_collect()) request_gc(trigger_of(t, bytes));
  } else {
    assist_gc();
  }
  for (bool last_try = false;; last_try = true) {
    safepoint();
    m* const mp = rt_enter();
    void* const at = allocate(*mp->current_p->cache, t, count, bytes);
    rt_leave(mp);
    if (at != nullptr) {
      if (bytes > kMaxSmallSize) finish(large_object(mm.heap, at, t, count));
      return at;
    }
    if (last_try) throw std::bad_alloc();
    run_gc(trigger_of(t, bytes));  // the reservation is exhausted: only a full collection can help
  }
}

}  // namespace

constinit std::atomic<void (*)()> between_pieces_for_testing{nullptr};

void* mallocgc(size_t bytes, const type_descriptor& t, size_t count) { return malloc_slow(bytes, t, count); }

}  // namespace warren::rt

namespace warren {

// What others allocate for objects of ours: an allocation that fills no span.
void external_bytes(int64_t change) noexcept {
  rt::memory_manager& mm = rt::memory();
  mm.gc.add_external(change);
  if (change <= 0 || mm.gc.phase() != rt::gc_phase::off || !mm.heap.should_collect()) return;
  const rt::m* const mp = rt::getm();
  if (mp == nullptr || mp->curg == nullptr || mp->current_p == nullptr) return;  // the next allocation asks
  rt::request_gc(change > static_cast<int64_t>(rt::kMaxSmallSize) ? gc_trigger::large : gc_trigger::small);
}

}  // namespace warren

namespace warren::detail {

using namespace rt;

// Never inlined, whatever the optimizer sees: its zeroing would be dead code to a compiler that sees the constructor following
// (runtime/heap/allocate.h).
namespace {
// In a bracket, whatever the object.
[[gnu::noinline]] void* new_object_bracketed(m* mp, const type_descriptor& t) {
  void* const at = allocate_fast(*mp->current_p->cache, t);
  rt_leave(mp);
  return at != nullptr ? at : malloc_slow(t.size, t, 1);
}

// A bracket was begun, without an mcache to hand.
[[gnu::noinline]] void* new_object_uncached(m* mp, const type_descriptor& t) {
  rt_leave(mp);
  return malloc_slow(t.size, t, 1);
}

#ifndef WARREN_TINY
// A bracket was begun, and the P is wanted back.
[[gnu::noinline]] void* new_object_revoked(m* mp, const type_descriptor& t) {
  rt_leave(rt_enter_slow(mp));
  return malloc_slow(t.size, t, 1);
}
#endif
}  // namespace

// The way of most objects makes no call but at its end, so it needs no frame and saves no registers: a fifth of its instructions.
[[gnu::noinline]] void* new_object(const type_descriptor& t) {
#ifndef WARREN_TINY
  m* const mp = getm();
  if (mp == nullptr) [[unlikely]]
    return malloc_slow(t.size, t, 1);
  mp->in_rt.store(1, std::memory_order_relaxed);  // as rt_enter
  asm volatile("" ::: "memory");
  if (mp->revoked.load(std::memory_order_relaxed) != 0) [[unlikely]]
    return new_object_revoked(mp, t);
  const mcache* const c = mp->cache_at_hand;
  if (c == nullptr) [[unlikely]]
    return new_object_uncached(mp, t);
  mspan* const s = c->alloc[t.plain].load(std::memory_order_relaxed);
  if ((s->bits_of != &t && t.kind == layout_kind::precise) || s->alloc_cache == 0) [[unlikely]]
    return new_object_bracketed(mp, t);
  void* const at = allocate_plain(*s);
  if (c->black) [[unlikely]]  // the barrier need not shade it
    mp->shaded.remember(reinterpret_cast<uintptr_t>(at));
  rt_leave(mp);
  return at;
#else
  m* const mp = rt_enter();
  return mp->cache_at_hand != nullptr ? new_object_bracketed(mp, t) : new_object_uncached(mp, t);
#endif
}

[[gnu::noinline]] void* new_array(const type_descriptor& element, size_t n) {
  // One byte more: the address one past the end must lie inside the object, or it could keep (or be taken for) the next.
  size_t bytes;
  if (__builtin_mul_overflow(element.size, n, &bytes) || bytes >= (size_t{1} << 47)) throw std::bad_array_new_length();
  return malloc_slow(bytes + 1, element, n);
}

void register_finalizer(void* object, const type_descriptor& t) { memory().gc.finalizers().add({object, t.destroy, t.name}); }

root_cell* root_new(const volatile void* value) { return value == nullptr ? nullptr : memory().roots.make(const_cast<void*>(value)); }
root_cell* root_copy(const root_cell* from) { return from == nullptr ? nullptr : memory().roots.copy(from); }
void root_set(root_cell** cell, const volatile void* value) { memory().roots.set(cell, const_cast<void*>(value)); }
void root_assign(root_cell** cell, const root_cell* from) { memory().roots.assign(cell, from); }
void root_delete(root_cell* cell) noexcept { memory().roots.drop(cell); }

void index_out_of_range(size_t index, size_t size) noexcept {
  fatal("index %zu is out of range of a warren::array of %zu elements: check before, or use size()", index, size);
}

}  // namespace warren::detail

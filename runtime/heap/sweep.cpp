// Sweeping: what was not marked is free.
//
// sweep(span), by whoever took the span out of its mcentral's unswept list (or out of anybody's reach):
//   1. claim it: sweepgen sg-2 → sg-1 by compare-and-swap. The lists make the claim exclusive already; the swap proves it.
//   2. a marked slot that is free is a zombie: somebody followed a pointer that outlived its object, or a mark came from nowhere. The heap
//      is corrupt: report and stop.
//   3. freed = taken - marked. The mark bits become the alloc bits, and are cleared for the next cycle.
//   4. allocation restarts at group 0; sweepgen = sg.
//   5. a span without objects goes back to the page allocator, unless the caller wants it as it is.
// No collection can begin meanwhile: it needs the world stopped, and a goroutine is not stopped in here.
#include <string.h>

#include <utility>

#include "runtime/heap/asan.h"
#include "runtime/heap/mheap.h"
#include "runtime/os/fatal.h"

namespace warren::rt {

void mheap::begin_sweep() noexcept {
  unswept_.store(spans_in_use_.load(std::memory_order_relaxed), std::memory_order_relaxed);
  sweep_cursor_.store(0, std::memory_order_relaxed);
  swept_pages_.store(0, std::memory_order_relaxed);
  sweep_from_ = live_bytes();
  double per_byte = 0;
  if (trigger() != ~uint64_t{0}) {
    // A megabyte before the trigger it should be over: refills come in spans, and the background sweeper needs its turn.
    constexpr int64_t kMargin = 1 << 20;
    auto distance = static_cast<int64_t>(trigger() - paced_bytes()) - kMargin;
    if (distance < static_cast<int64_t>(kPageSize)) distance = kPageSize;
    per_byte = static_cast<double>(span_pages_.load(std::memory_order_relaxed)) / static_cast<double>(distance);
  }
  sweep_pages_per_byte_.store(per_byte, std::memory_order_relaxed);
  sweepgen_.fetch_add(2, std::memory_order_release);
}

// By who is about to take a span of so many bytes.
void mheap::pay_for_sweep(size_t bytes) noexcept {
  const double per_byte = sweep_pages_per_byte_.load(std::memory_order_relaxed);
  if (per_byte == 0) return;
  const auto allocated =
      static_cast<double>(static_cast<int64_t>(live_bytes() + bytes - sweep_from_));  // less than none, as spans leave mcaches
  while (static_cast<double>(swept_pages_.load(std::memory_order_relaxed)) < per_byte * allocated) {
    if (sweep_one()) continue;
    sweep_pages_per_byte_.store(0, std::memory_order_relaxed);
    return;
  }
}

size_t mheap::sweep(mspan* s, empty_span what) noexcept {
  const uint32_t sg = sweepgen();
  uint32_t expected = sg - 2;
  if (!s->sweepgen.compare_exchange_strong(expected, sg - 1, std::memory_order_acq_rel)) {
    print_span(*s);
    fatal("a span to be swept has sweepgen %u, the heap's is %u: it was swept twice or is in use; this is a bug in the runtime", expected,
          sg);
  }

  swept_pages_.fetch_add(s->npages, std::memory_order_relaxed);
  uint32_t live = 0;
  for (uint32_t group = 0; group < s->groups(); ++group) {
    const uint64_t marked = s->mark_bits(group);
    uint64_t taken;
    if (group < s->free_group) {
      taken = s->group_mask(group);
    } else if (group == s->free_group) {
      taken = ~s->alloc_cache & s->group_mask(group);
    } else {
      taken = s->alloc_bits(group);
    }
    if ((marked & ~taken) != 0) {
      print_span(*s);
      const uint32_t i = group * 64 + static_cast<uint32_t>(__builtin_ctzll(marked & ~taken));
      fatal(
          "sweep found slot %u of a span marked but free (object at %p): a pointer to it outlived the object, look for memory kept from "
          "the collector's sight (roots in plain memory)",
          i, reinterpret_cast<void*>(s->slot(i)));
    }
    live += count_bits(marked);
#ifndef WARREN_HEAP_ASAN
    if (poison_)
#endif
    {
      for (uint64_t dead = taken & ~marked; dead != 0; dead &= dead - 1) {
        void* const slot = reinterpret_cast<void*>(s->slot(group * 64 + static_cast<uint32_t>(__builtin_ctzll(dead))));
        if (poison_) memset(slot, kPoisonByte, s->elem_size);
        heap_poison(slot, s->elem_size);
      }
    }
  }

  const uint32_t before = s->alloc_count.load(std::memory_order_relaxed);
  if (before > live) counters_.frees[size_class_in(s->span_class)].add(before - live);
  counters_.spans_swept.add();
  if (live == 0 && what == empty_span::give_back) {
    if (size_class_in(s->span_class) == 0) counters_.large_bytes_freed.add(s->bytes());
    const size_t pages = s->npages;
    s->sweepgen.store(sg, std::memory_order_release);
    free_span(s);
    unswept_.fetch_sub(1, std::memory_order_release);
    return pages;
  }
  if (before > live) s->needzero = true;
  for (size_t group = 0; group < s->groups(); ++group) s->alloc_bits(group) = std::exchange(s->mark_bits(group), 0);
  if (scan_by_page_ && s->npages == 1 && s->kind() != scan_kind::noscan)
    memset(reserved_.scan_bits(page_of(s->base), bit_tier_of(s->elem_size)), 0, s->groups() * 8);
  s->alloc_count.store(live, std::memory_order_relaxed);
  s->count_when_cached.store(live, std::memory_order_relaxed);
  s->load_group(0);
  s->sweepgen.store(sg, std::memory_order_release);
  unswept_.fetch_sub(1, std::memory_order_release);
  return 0;
}

// Takes an unswept span out of its list. The cursor goes over the classes once per cycle: lists behind it were empty, and nothing is added
// to unswept lists.
mspan* mheap::pop_unswept(size_t* cursor) noexcept {
  const int unswept = mcentral::unswept(sweepgen());
  for (; *cursor < kSpanClasses; ++*cursor) {
    mcentral& m = central_[*cursor];
    m.lock.lock();
    mspan* s = m.full[unswept].pop();
    if (s == nullptr) s = m.partial[unswept].pop();
    m.lock.unlock();
    if (s != nullptr) return s;
  }
  return nullptr;
}

void mheap::sweep_and_file(mspan* s, size_t* freed) noexcept {
  const size_t pages = sweep(s, empty_span::give_back);
  *freed += pages;
  if (pages != 0) return;
  mcentral& m = central_[s->span_class];
  m.lock.lock();
  (s->alloc_count.load(std::memory_order_relaxed) == s->nelems ? m.full : m.partial)[mcentral::swept(sweepgen())].push(s);
  m.lock.unlock();
}

// A stop of the world must not hold a thread in the middle of a span: the next cycle would find it half swept.
bool mheap::sweep_one() noexcept {
  const critical_section whole_span;
  size_t cursor = sweep_cursor_.load(std::memory_order_relaxed);
  mspan* const s = pop_unswept(&cursor);
  sweep_cursor_.store(cursor, std::memory_order_relaxed);
  if (s == nullptr) return false;
  size_t freed = 0;
  sweep_and_file(s, &freed);
  return true;
}

size_t mheap::reclaim(size_t pages) noexcept {
  size_t freed = 0;
  size_t cursor = sweep_cursor_.load(std::memory_order_relaxed);
  while (freed < pages) {
    mspan* const s = pop_unswept(&cursor);
    if (s == nullptr) break;
    sweep_and_file(s, &freed);
  }
  return freed;
}

}  // namespace warren::rt

// mspan: a run of pages cut into slots of one size.
//
// Which slots are taken (allocation side). alloc_bits says which were at the last sweep. Allocation walks the slots upwards in groups of
// 64:
//   below group `free_group`   all taken
//   in it                      free are exactly the bits of alloc_cache
//   above                      as alloc_bits says
// Taking a slot is: count trailing zeros of alloc_cache, clear that bit. No links run through free memory, so a conservative scan meets
// none and nothing can corrupt them. Nor is it counted: while an mcache has the span, alloc_count counts all of its current group as taken
// (a load, an addition and a store less for each object), and the rest of the group is taken off it when the span leaves.
//
// Colours (collector side), defined here and nowhere else:
//   white   mark bit 0
//   grey    mark bit 1, and the object waits in the mark stack
//   black   mark bit 1, and it does not
// Between collections all mark bits are 0: the sweep copies the mark bits into the alloc bits and clears them. (Go exchanges the two
// arrays. Copying is two words for most spans, and then the mark bit of an object is where its address alone says: page_word.h.)
//
// What a concurrent marker may believe. A word from a stack or an integer may point anywhere, so a marker has to know which slots hold
// objects, while the owner of the span allocates from it. It goes by alloc_bits: exact when marking begins, since a span that leaves its
// mcache records there what was taken (mheap::uncache), and unchanged by the span's owner while it marks. Slots taken since then are not
// seen, and need not be: they are made black, and what is stored into them passes the barrier. (Go's freeIndexForScan serves the same end.)
//
// What it reads meanwhile, and why that is no race:
//   magic nelems base elem_size   written before the span is published in the reservation's array (release in mheap::new_span, acquire in
//   span_class, where the bits are   mheap::span_at); constant from then on. A span is freed, and its descriptor used again, by the
//                                    sweep only, which is over before marking begins (world stopped)
//   words of alloc_bits           written by the owner when the span leaves its mcache, full, in the middle of a marking: then the bits of
//                                    new objects appear. Release and acquire (record_allocated, was_allocated): who sees such a bit sees
//                                    the slot zeroed and its mark bit set, so it does not mark. Were they relaxed, a machine with weak
//                                    memory order could show the bit first: the object would be counted and scanned as an old one,
//                                    whatever its memory held. (tests/interleave/span_test.cpp)
//   words of mark_bits            atomic read-modify-writes of markers and allocators
// is_allocated also reads what allocation writes all the time (free_group, alloc_cache): that is for the owner, and for a stopped world.
//
// Who owns a span: the mcache that caches it (allocates from it without a lock), or one list of its mcentral (its lock), or whoever has
// taken it out of there.
// sweepgen, against the heap's, which a collection raises by 2 (Go's numbers):
//   sg - 2   must be swept before anything else      sg - 1   is being swept
//   sg       swept                                   sg + 3   swept, and cached by an mcache
// Go's sg + 1 (cached since before the cycle) does not occur: a collection empties all mcaches while the world stands.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/heap/size_class.h"

namespace warren::rt {

// Without the instruction popcount, which not every processor of the build's has, the compiler's own is a call.
inline uint32_t count_bits(uint64_t bits) noexcept {
  if ((bits & (bits - 1)) == 0) return uint32_t{bits != 0};  // nearly always, while marking
  bits -= bits >> 1 & 0x5555555555555555u;
  bits = (bits & 0x3333333333333333u) + (bits >> 2 & 0x3333333333333333u);
  bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  return static_cast<uint32_t>(bits * 0x0101010101010101u >> 56);
}

struct mspan {
  // What an allocation touches comes first: one cache line.
  uint64_t alloc_cache = 0;              // free slots of the current group
  uintptr_t group_base = 0;              // address of the group's first slot
  uint32_t elem_size32 = 0;              // elem_size of small spans
  std::atomic<uint32_t> alloc_count{0};  // taken slots, and in an mcache those of alloc_cache; written by the owner
  bool needzero = true;                  // slots may hold old contents
  uint8_t span_class = 0;
  uint32_t free_group = 0;  // number of the current group
  uint32_t nelems = 0;
  uint32_t magic = 0;  // division by elem_size; 0 for a span of one object
  uint32_t npages = 0;
  uintptr_t base = 0;

  // Whose pointer bits all slots have, free ones too: the type of every object made here since the span was; nullptr: none was. kMixed:
  // each slot has the bits of its own object. Spans of precise classes only; owner.
  const void* bits_of = nullptr;
  static inline const char kMixed = 0;

  uint64_t* object_bits = nullptr;  // group by group 64 alloc bits, 64 mark bits
  size_t elem_size = 0;
  std::atomic<uint32_t> sweepgen{0};
  std::atomic<uint32_t> count_when_cached{0};  // alloc_count when last added to the heap's counters
  mspan* next = nullptr;                       // in a list; guarded as that list is

  scan_kind kind() const noexcept { return scan_kind_in(span_class); }
  size_t limit() const noexcept { return base + nelems * elem_size; }
  size_t bytes() const noexcept { return size_t{npages} << kPageShift; }
  size_t groups() const noexcept { return (nelems + 63) / 64; }
  uintptr_t slot(size_t i) const noexcept { return base + i * elem_size; }
  // Which slot holds this address. REQUIRES: base <= a < base + bytes(). May be nelems or more: the unused tail.
  uint32_t slot_index(uintptr_t a) const noexcept {
    return static_cast<uint32_t>((uint64_t{static_cast<uint32_t>(a - base)} * magic) >> 32);
  }

  uint64_t& alloc_bits(size_t group) const noexcept { return object_bits[2 * group]; }
  uint64_t& mark_bits(size_t group) const noexcept { return object_bits[2 * group + 1]; }

  // Taken, in the sense above. World stopped or owner only.
  bool is_allocated(uint32_t i) const noexcept {
    const uint32_t group = i / 64;
    if (group < free_group) return true;
    if (group == free_group) return ((alloc_cache >> (i % 64)) & 1) == 0;
    return ((alloc_bits(group) >> (i % 64)) & 1) != 0;
  }
  // Taken when the span was last outside any mcache. Any thread while a collection marks.
  bool was_allocated(uint32_t i) const noexcept { return ((__atomic_load_n(&alloc_bits(i / 64), __ATOMIC_ACQUIRE) >> (i % 64)) & 1) != 0; }
  bool is_marked(uint32_t i) const noexcept { return ((__atomic_load_n(&mark_bits(i / 64), __ATOMIC_RELAXED) >> (i % 64)) & 1) != 0; }
  // white → grey (or black at once). True for the one caller that made the change. Markers and allocators, at the same time.
  bool try_mark(uint32_t i) noexcept { return try_set(&mark_bits(i / 64), uint64_t{1} << (i % 64)); }
  static bool try_set(uint64_t* word, uint64_t bit) noexcept {
    if ((__atomic_load_n(word, __ATOMIC_RELAXED) & bit) != 0) return false;
    return (__atomic_fetch_or(word, bit, __ATOMIC_SEQ_CST) & bit) == 0;
  }

  // A free slot of the current group; 0: there is none. Owner.
  uintptr_t take() noexcept {
    const uint64_t free = alloc_cache;
    if (free == 0) [[unlikely]]
      return 0;
    __atomic_store_n(&alloc_cache, free & (free - 1), __ATOMIC_RELAXED);
    return group_base + static_cast<size_t>(__builtin_ctzll(free)) * elem_size32;
  }
  uint64_t group_mask(uint32_t group) const noexcept {
    const uint32_t first = group * 64;
    const uint32_t n = nelems - first;
    return n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
  }
  void load_group(uint32_t group) noexcept {
    free_group = group;
    group_base = base + size_t{group} * 64 * elem_size;
    __atomic_store_n(&alloc_cache, ~alloc_bits(group) & group_mask(group), __ATOMIC_RELAXED);
  }
  // An mcache takes from this group from now on, or no longer.
  void count_group() noexcept {
    // Release: who counts what is taken sees this count with this group or a later one (taken_so_far).
    alloc_count.store(alloc_count.load(std::memory_order_relaxed) + count_bits(alloc_cache), std::memory_order_release);
  }
  void uncount_group() noexcept {
    alloc_count.store(alloc_count.load(std::memory_order_relaxed) - count_bits(alloc_cache), std::memory_order_relaxed);
  }
  // Of a span in an mcache, by any thread: the slots taken, or up to a group fewer while the owner comes to the next.
  uint32_t taken_so_far() const noexcept {
    const uint32_t with_group = alloc_count.load(std::memory_order_acquire);
    const uint32_t free = count_bits(__atomic_load_n(&alloc_cache, __ATOMIC_RELAXED));
    return with_group > free ? with_group - free : 0;
  }
  // While a collection marks, new objects are black. The owner marks the free slots of a group before it takes the first (Go marks each
  // object as it is made), and unmarks those that it has not taken when the span leaves its mcache. Markers look at no mark bit of a slot
  // whose alloc bit is not set.
  void blacken_group() noexcept { __atomic_fetch_or(&mark_bits(free_group), alloc_cache, __ATOMIC_RELAXED); }
  void whiten_rest() noexcept { __atomic_fetch_and(&mark_bits(free_group), ~alloc_cache, __ATOMIC_RELAXED); }
  // Makes alloc_bits say what is taken. Owner, who has marked what is to be black.
  void record_allocated() noexcept {
    for (uint32_t group = 0; group < free_group; ++group) __atomic_store_n(&alloc_bits(group), group_mask(group), __ATOMIC_RELEASE);
    __atomic_store_n(&alloc_bits(free_group), ~alloc_cache & group_mask(free_group), __ATOMIC_RELEASE);
  }
  // Moves to the next group with a free slot. false: the span is full.
  bool next_group() noexcept {
    while (alloc_cache == 0) {
      if (free_group + 1 >= groups()) return false;
      load_group(free_group + 1);
    }
    return true;
  }
};

// A stack of spans.
struct span_list {
  mspan* head = nullptr;
  size_t size = 0;
  void push(mspan* s) noexcept {
    s->next = head;
    head = s;
    ++size;
  }
  mspan* pop() noexcept {
    mspan* const s = head;
    if (s != nullptr) {
      head = s->next;
      s->next = nullptr;
      --size;
    }
    return s;
  }
};

}  // namespace warren::rt

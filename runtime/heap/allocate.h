// From a type to zeroed memory the collector can scan: the fast path, and the way to the slow one.
//
// Order for the sake of a marker that may look at the object (gc.md §3.3): contents zeroed, pointer bits written, only then does the
// address leave this file. A stopped world finds an object either not taken or complete, since a goroutine is not stopped inside. While a
// collection marks, new objects are black from the start: a marker does not look into them at all.
//
// Zeroing must survive the optimizer: g++ 12 treats what was stored into memory before a constructor runs as dead (-flifetime-dse), a
// concurrent marker and default-initialized fields do not. Memory is therefore zeroed in code the caller cannot see into
// (detail::new_object is never inlined), and the compiler barrier at the end holds even under link-time optimization;
// tests/runtime/heap/zeroing_test checks the effect.
#pragma once
#include <cstring>

#include "runtime/heap/asan.h"
#include "runtime/heap/mheap.h"
#include "warren/detail/type_map.h"

namespace warren::rt {

using detail::layout_kind;
using detail::type_descriptor;

static_assert(static_cast<int>(scan_kind::noscan) == static_cast<int>(layout_kind::noscan));
static_assert(static_cast<int>(scan_kind::precise) == static_cast<int>(layout_kind::precise));
static_assert(static_cast<int>(scan_kind::ambiguous) == static_cast<int>(layout_kind::ambiguous));

// n: a multiple of 8, at least 8. Inline for the small slots most objects have: the call of memset costs as much as the rest of an
// allocation.
inline void zero_slot(uintptr_t at, size_t n) noexcept {
  auto* p = reinterpret_cast<std::byte*>(at);
  if (n < 16) {
    __builtin_memset(p, 0, 8);
  } else if (n <= 128) {
    __builtin_memset(p, 0, 16);
    for (size_t i = 16; i + 16 <= n; i += 16) {
      __builtin_memset(p + i, 0, 16);
      asm volatile("" ::: "memory");  // keeps the compiler from making the loop a call of memset again
    }
    __builtin_memset(p + n - 16, 0, 16);
  } else {
    memset(p, 0, n);
  }
}

// Writes the pointer bits of the slot [at, at + slot_bytes): the type's map, repeated for each of its elements, then zeros. Bits outside
// are left alone, though they may share a word: they belong to the same span, which one mcache owns.
inline void write_pointer_bits(const reservation& r, uintptr_t at, size_t slot_bytes, const type_descriptor& t) noexcept {
  const size_t bit = (at - r.base()) / sizeof(void*);
  const size_t n = slot_bytes / sizeof(void*);
  uint64_t* const w = r.pointer_bits() + bit / 64;
  const size_t shift = bit % 64;
  if (n <= 64) [[likely]] {
    const uint64_t mask = n == 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
    const uint64_t map = t.words[0];
    __atomic_store_n(&w[0], (__atomic_load_n(&w[0], __ATOMIC_RELAXED) & ~(mask << shift)) | map << shift, __ATOMIC_RELAXED);
    if (shift + n > 64) {
      __atomic_store_n(&w[1], (__atomic_load_n(&w[1], __ATOMIC_RELAXED) & ~(mask >> (64 - shift))) | map >> (64 - shift), __ATOMIC_RELAXED);
    }
    return;
  }
  // The slot is larger than 64 words: write word by word. (Slots of 65 words and more begin at even words, not at multiples of 64.)
  for (size_t i = 0; i < n;) {
    const size_t at_bit = (bit + i) % 64;
    const size_t here = n - i < 64 - at_bit ? n - i : 64 - at_bit;
    uint64_t v = 0;
    for (size_t k = 0; k < here; ++k) {
      const size_t word = i + k;
      if (word < t.pointer_words) v |= ((t.words[word / 64] >> (word % 64)) & 1) << (at_bit + k);
    }
    const uint64_t mask = (here == 64 ? ~uint64_t{0} : (uint64_t{1} << here) - 1) << at_bit;
    uint64_t* const to = r.pointer_bits() + (bit + i) / 64;
    __atomic_store_n(to, (__atomic_load_n(to, __ATOMIC_RELAXED) & ~mask) | v, __ATOMIC_RELAXED);
    i += here;
  }
}
// The same for count elements of type t.
void write_array_bits(const reservation& r, uintptr_t at, size_t slot_bytes, const type_descriptor& t, size_t count) noexcept;

// A tiny object, if the block at hand has room: 0 otherwise. align is at most 8 for sizes below 16.
inline uintptr_t allocate_tiny(mcache& c, size_t size, size_t align) noexcept {
  if (c.tiny == 0) return 0;
  const size_t at = (c.tiny_used + align - 1) & ~(align - 1);
  if (at + size > kTinySize) return 0;
  c.tiny_used = at + size;
  c.counts.tiny_hits.add();
  return c.tiny + at;
}

inline bool is_tiny(const type_descriptor& t, size_t bytes) noexcept { return t.kind == layout_kind::noscan && bytes < kTinySize; }

// One object of type t from the spans at hand; nullptr if that takes the slow path. Owner of c, in a bracket.
inline void* allocate_fast(mcache& c, const type_descriptor& t) noexcept {
  if (t.size < kTinySize && t.kind == layout_kind::noscan) return reinterpret_cast<void*>(allocate_tiny(c, t.size, t.align));
  if (t.size > 1024 || t.align > 8) [[unlikely]]
    return nullptr;  // the slow path asks the larger tables
  const uint8_t sc = kSizeLookup.small[(t.size + 7) / 8];
  const uint8_t spc = span_class_of(sc, static_cast<scan_kind>(t.kind));
  mspan* s;
  const uintptr_t at = c.next_free_fast(spc, &s);
  if (at == 0) [[unlikely]]
    return nullptr;
  heap_unpoison(reinterpret_cast<void*>(at), s->elem_size32);
  if (s->needzero) zero_slot(at, s->elem_size32);
  if (t.kind == layout_kind::precise) write_pointer_bits(c.heap.space(), at, s->elem_size32, t);
  if (c.black) [[unlikely]]
    c.mark_new(s, s->slot_index(at));
  asm volatile("" : : "r"(at) : "memory");
  return reinterpret_cast<void*>(at);
}

// Any allocation: count objects of type t in a row, `bytes` in all (with the spare byte of arrays). nullptr: out of memory. Does not
// collect.
void* allocate(mcache& c, const type_descriptor& t, size_t count, size_t bytes) noexcept;

}  // namespace warren::rt

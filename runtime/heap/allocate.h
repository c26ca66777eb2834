// From a type to zeroed memory the collector can scan: the fast path, and the way to the slow one.
//
// Order for the sake of a marker that may look at the object (gc.md §3.3): contents zeroed, pointer bits written, only then does the
// address leave this file. A stopped world finds an object either not taken or complete, since a goroutine is not stopped inside; a large
// one, which would take too long for that, it may find without pointers (large_object). While a collection marks, new objects are black
// from the start: a marker does not look into them at all.
//
// Zeroing must survive the optimizer: g++ 12 treats what was stored into memory before a constructor runs as dead (-flifetime-dse), a
// concurrent marker and default-initialized fields do not. Memory is therefore zeroed in code the caller cannot see into
// (detail::new_object is never inlined), and the compiler barrier at the end holds even under link-time optimization;
// tests/runtime/heap/zeroing_test checks the effect.
#pragma once
#include <array>
#include <cstring>

#include "runtime/heap/asan.h"
#include "runtime/heap/mheap.h"
#include "runtime/os/tiny.h"
#include "warren/detail/type_map.h"

namespace warren::rt {

using detail::layout_kind;
using detail::type_descriptor;

static_assert(static_cast<int>(scan_kind::noscan) == static_cast<int>(layout_kind::noscan));
static_assert(static_cast<int>(scan_kind::precise) == static_cast<int>(layout_kind::precise));
static_assert(static_cast<int>(scan_kind::ambiguous) == static_cast<int>(layout_kind::ambiguous));

// n: a multiple of 8, from 16 to 128. Inline: the call of memset costs as much as the rest of an allocation. Stores of 16 bytes from both
// ends, which overlap where n is no power of two: two compares and no loop.
inline void zero_plain_slot(uintptr_t at, size_t n) noexcept {
  auto* p = reinterpret_cast<std::byte*>(at);
  const auto ends = [p, n](size_t bytes) {
    for (size_t i = 0; i < bytes; i += 16) {
      __builtin_memset(p + i, 0, 16);
      __builtin_memset(p + n - 16 - i, 0, 16);
    }
  };
  if (n <= 32) {
    ends(16);
  } else if (n <= 64) {
    ends(32);
  } else {
    ends(64);
  }
}

inline void zero_slot(uintptr_t at, size_t n) noexcept {
  if (n < 16) {
    __builtin_memset(reinterpret_cast<void*>(at), 0, 8);
  } else if (n <= 128) {
    zero_plain_slot(at, n);
  } else {
    memset(reinterpret_cast<void*>(at), 0, n);
  }
}

// For an object of type t at a slot of s, whose bits are not t's already. Most spans hold objects of one type only: then the bits are
// written once, for all slots, when the first object is made, and no allocation looks at them again.
void set_pointer_bits(const reservation& r, mspan* s, uintptr_t at, const type_descriptor& t) noexcept;
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

// What plain types know themselves is what the tables say. The others' 0 is a class of no size, which no mcache ever has a span of.
static_assert([] {
  for (size_t size = 0; size <= 256; ++size)
    for (const layout_kind kind : {layout_kind::noscan, layout_kind::precise, layout_kind::ambiguous}) {
      const uint8_t plain = detail::plain_span_class(size, 8, kind);
      if ((plain != 0) != (size >= kTinySize && size <= 128)) return false;
      if (plain != 0 && plain != span_class_of(size_class_of(size), static_cast<scan_kind>(kind))) return false;
    }
  return true;
}());
// A slot of s, which has a free one at hand. REQUIRES: plain, and the pointer bits are right.
inline void* allocate_plain(mspan& s) noexcept {
  const uintptr_t at = s.take();
  heap_unpoison(reinterpret_cast<void*>(at), s.elem_size32);
  zero_plain_slot(at, s.elem_size32);
  asm volatile("" : : "r"(at) : "memory");
  return reinterpret_cast<void*>(at);
}

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
  if (t.kind == layout_kind::precise && s->bits_of != &t) [[unlikely]]
    set_pointer_bits(c.heap.space(), s, at, t);
  asm volatile("" : : "r"(at) : "memory");
  return reinterpret_cast<void*>(at);
}

// Any allocation: count objects of type t in a row, `bytes` in all (with the spare byte of arrays). nullptr: out of memory. Does not
// collect. One of more than kMaxSmallSize bytes is to be finished (large_object).
void* allocate(mcache& c, const type_descriptor& t, size_t count, size_t bytes) noexcept;

// What allocate leaves to do of a large object: its memory holds what it held. In a bracket a gigabyte of it would keep a stop of the world
// waiting for a quarter of a second; so who allocates does this outside of one, piece by piece, before anybody else gets the address. A
// collection may begin meanwhile, and finds the object by the stack it is on: no word of it counts as a pointer (allocate has seen to
// that), but those of the pieces that are done, which are null. Only of an ambiguous object all words count: its memory was zeroed at once.
class large_object {
 public:
  static constexpr size_t kPiece = WARREN_CAPACITY(size_t{256} << 10, size_t{1} << kPageShift);  // bytes: some 30 µs

  large_object(const mheap& h, void* at, const type_descriptor& t, size_t count) noexcept;
  // False: nothing is left.
  bool finish_piece() noexcept;

 private:
  const reservation& space_;
  const mspan& span_;
  const type_descriptor& type_;
  const size_t count_;
  bool zeroes_;
  size_t done_ = 0;  // bytes
};

}  // namespace warren::rt

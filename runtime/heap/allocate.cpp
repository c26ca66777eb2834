#include "runtime/heap/allocate.h"

namespace warren::rt {

namespace {
// Writes the pointer bits of the slot [at, at + slot_bytes): the type's map, repeated for each of its elements, then zeros. Bits outside
// are left alone, though they may share a word: they belong to the same span, which one mcache owns.
void write_pointer_bits(const reservation& r, uintptr_t at, size_t slot_bytes, const type_descriptor& t) noexcept {
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

// The bits of the words [from, to) of the slot at `at`, which holds count elements of type t and then nothing.
void write_array_bits(const reservation& r, uintptr_t at, size_t from, size_t to, const type_descriptor& t, size_t count) noexcept {
  const size_t bit = (at - r.base()) / sizeof(void*);
  const size_t words_each = t.size / sizeof(void*);  // a type with pointers is a multiple of words
  const size_t used = count * words_each;
  size_t in_element = from % words_each;
  for (size_t i = from; i < to;) {
    const size_t at_bit = (bit + i) % 64;
    const size_t here = to - i < 64 - at_bit ? to - i : 64 - at_bit;
    uint64_t v = 0;
    if (words_each == 1) {
      const size_t set = i >= used ? 0 : used - i < here ? used - i : here;
      v = (set == 64 ? ~uint64_t{0} : (uint64_t{1} << set) - 1) << at_bit;
    } else {
      for (size_t k = 0; k < here && i + k < used; ++k) {
        v |= ((t.words[in_element / 64] >> (in_element % 64)) & 1) << (at_bit + k);
        if (++in_element == words_each) in_element = 0;
      }
    }
    const uint64_t mask = (here == 64 ? ~uint64_t{0} : (uint64_t{1} << here) - 1) << at_bit;
    uint64_t* const to_word = r.pointer_bits() + (bit + i) / 64;
    __atomic_store_n(to_word, (__atomic_load_n(to_word, __ATOMIC_RELAXED) & ~mask) | v, __ATOMIC_RELAXED);
    i += here;
  }
}

// The bits of all slots of a fresh span.
void fill_pointer_bits(const reservation& r, const mspan& s, const type_descriptor& t) noexcept {
  const size_t n = s.elem_size / sizeof(void*);
  if (64 % n != 0) {
    for (size_t i = 0; i < s.nelems; ++i) write_pointer_bits(r, s.slot(i), s.elem_size, t);
    return;
  }
  uint64_t pattern = 0;
  for (size_t i = 0; i < 64; i += n) pattern |= t.words[0] << i;
  uint64_t* const w = r.pointer_bits() + (s.base - r.base()) / sizeof(void*) / 64;
  for (size_t i = 0; i < s.nelems * n / 64; ++i) __atomic_store_n(&w[i], pattern, __ATOMIC_RELAXED);
}

// A slot of the class, from whatever level has one. 0: out of memory.
uintptr_t small_slot(mcache& c, uint8_t spc, mspan** s) noexcept {
  uintptr_t at = c.next_free_fast(spc, s);
  if (at == 0) [[unlikely]] {
    if (!c.heap.refill(c, spc)) return 0;
    at = c.next_free_fast(spc, s);
  }
  heap_unpoison(reinterpret_cast<void*>(at), (*s)->elem_size);
  return at;
}
}  // namespace

void set_pointer_bits(const reservation& r, mspan* s, uintptr_t at, const type_descriptor& t) noexcept {
  if (s->bits_of == nullptr && t.size <= 64 * sizeof(void*)) {
    fill_pointer_bits(r, *s, t);
    s->bits_of = &t;
    return;
  }
  s->bits_of = &mspan::kMixed;
  write_pointer_bits(r, at, s->elem_size, t);
}

void* allocate(mcache& c, const type_descriptor& t, size_t count, size_t bytes) noexcept {
  const scan_kind kind = static_cast<scan_kind>(t.kind);
  uintptr_t at;
  mspan* s;
  if (is_tiny(t, bytes)) {
    at = allocate_tiny(c, bytes, t.align);
    if (at != 0) return reinterpret_cast<void*>(at);
    at = small_slot(c, span_class_of(size_class_of(kTinySize), scan_kind::noscan), &s);
    if (at == 0) return nullptr;
    if (s->needzero) zero_slot(at, kTinySize);
    c.counts.tiny_blocks.add();
    // Keep the block with more room.
    if (c.tiny == 0 || bytes < c.tiny_used) {
      c.tiny = at;
      c.tiny_used = bytes;
    }
    asm volatile("" : : "r"(at) : "memory");
    return reinterpret_cast<void*>(at);
  }
  if (bytes > kMaxSmallSize) {
    s = c.heap.alloc_large(c, bytes, kind);
    if (s == nullptr) return nullptr;
    if (kind == scan_kind::ambiguous && s->needzero) memset(reinterpret_cast<void*>(s->base), 0, s->bytes());
    // Zeros, until large_object writes them.
    if (kind == scan_kind::precise)
      memset(&c.heap.space().pointer_bits()[c.heap.page_of(s->base) * kBitmapWordsPerPage], 0, s->npages * kBitmapBytesPerPage);
    return reinterpret_cast<void*>(s->base);
  }
  // Alignment beyond a page has no class; check_collected refuses it.
  at = small_slot(c, span_class_of(size_class_of(bytes, t.align), kind), &s);
  if (at == 0) return nullptr;
  if (s->needzero) zero_slot(at, s->elem_size);
  if (kind == scan_kind::precise) {
    if (count == 1) {
      if (s->bits_of != &t) set_pointer_bits(c.heap.space(), s, at, t);
    } else {
      s->bits_of = &mspan::kMixed;
      write_array_bits(c.heap.space(), at, 0, s->elem_size / sizeof(void*), t, count);
    }
  }
  asm volatile("" : : "r"(at) : "memory");
  return reinterpret_cast<void*>(at);
}

large_object::large_object(const mheap& h, void* at, const type_descriptor& t, size_t count) noexcept
    : space_(h.space()), span_(*h.span_at(h.page_of(reinterpret_cast<uintptr_t>(at)))), type_(t), count_(count) {
  const bool precise = span_.kind() == scan_kind::precise;
  zeroes_ = span_.needzero && span_.kind() != scan_kind::ambiguous;
  if (!zeroes_ && !precise) done_ = span_.bytes();
}

bool large_object::finish_piece() noexcept {
  const size_t from = done_;
  const size_t n = span_.bytes() - from < kPiece ? span_.bytes() - from : kPiece;
  if (n == 0) return false;
  if (zeroes_) memset(reinterpret_cast<void*>(span_.base + from), 0, n);
  asm volatile("" : : "r"(span_.base) : "memory");
  if (span_.kind() == scan_kind::precise)
    write_array_bits(space_, span_.base, from / sizeof(void*), (from + n) / sizeof(void*), type_, count_);
  done_ += n;
  return done_ != span_.bytes();
}

}  // namespace warren::rt

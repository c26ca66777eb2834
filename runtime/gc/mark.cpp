#include "runtime/gc/mark.h"

namespace warren::rt {

bool marker::mark_word(uintptr_t word) noexcept {
  const object_ref o = heap_.find_for_mark(word);
  if (!o) return false;
  mspan* const s = o.span;
  if (!s->try_mark(o.index)) return false;
  ++objects;
  bytes += s->elem_size;
  if (s->kind() == scan_kind::noscan) return true;  // black at once
  const uintptr_t at = o.address();
  __builtin_prefetch(reinterpret_cast<const void*>(at));
  queue_.push(at);
  return true;
}

__attribute__((no_sanitize("address", "thread"))) void marker::mark_range(const void* lo, const void* hi) noexcept {
  constexpr uintptr_t w = sizeof(uintptr_t);
  auto* p = reinterpret_cast<const volatile uintptr_t*>((reinterpret_cast<uintptr_t>(lo) + w - 1) / w * w);
  auto* const end = reinterpret_cast<const volatile uintptr_t*>(reinterpret_cast<uintptr_t>(hi) / w * w);
  for (; p < end; ++p) mark_word(*p);
}

// Words are read by one load each, as the program may write them meanwhile. Not instrumented: a slot that holds something else than a ptr
// (an ambiguous object, a channel's buffer) is written by ordinary stores of the program, whose values do not matter here.
__attribute__((no_sanitize("thread"))) size_t marker::scan(uintptr_t entry) noexcept {
  mspan* const s = heap_.span_at(heap_.page_of(entry));
  size_t bytes_here = s->elem_size;
  if (bytes_here > kObletBytes) {
    const uintptr_t begin = s->magic == 0 ? s->base : s->slot(s->slot_index(entry));
    const uintptr_t end = begin + bytes_here;
    if (entry == begin)
      for (uintptr_t at = begin + kObletBytes; at < end; at += kObletBytes) queue_.push(at);
    bytes_here = end - entry < kObletBytes ? end - entry : kObletBytes;
  }
  const auto* const words = reinterpret_cast<const volatile uintptr_t*>(entry);
  const size_t n = bytes_here / sizeof(void*);
  if (s->kind() == scan_kind::ambiguous) {
    for (size_t i = 0; i < n; ++i) mark_word(words[i]);
    return bytes_here;
  }
  const reservation& r = heap_.space();
  const size_t first = (entry - r.base()) / sizeof(void*);
  for (size_t i = 0; i < n;) {
    const size_t bit = first + i;
    const size_t at_bit = bit % 64;
    const size_t here = n - i < 64 - at_bit ? n - i : 64 - at_bit;
    uint64_t map = __atomic_load_n(&r.pointer_bits()[bit / 64], __ATOMIC_RELAXED) >> at_bit;
    if (here < 64) map &= (uint64_t{1} << here) - 1;
    for (; map != 0; map &= map - 1) {
      const uintptr_t word = words[i + static_cast<size_t>(__builtin_ctzll(map))];
      if (word != 0) mark_word(word);
    }
    i += here;
  }
  return bytes_here;
}

uint64_t marker::drain(uint64_t work) noexcept {
  uint64_t done = 0;
  while (done < work) {
    const uintptr_t entry = queue_.pop();
    if (entry == 0) break;
    done += scan(entry);
  }
  scanned += done;
  return done;
}

}  // namespace warren::rt

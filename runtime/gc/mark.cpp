#include "runtime/gc/mark.h"

#include <sys/mman.h>

namespace warren::rt {

void marker::mark_word(uintptr_t word) noexcept {
  const object_ref o = heap_.find_object(word);
  if (!o) return;
  mspan* const s = o.span;
  uint64_t& bits = s->mark_bits[o.index / 64];
  const uint64_t bit = uint64_t{1} << (o.index % 64);
  if ((bits & bit) != 0) return;
  bits |= bit;
  ++objects_;
  bytes_ += s->elem_size;
  if (s->kind() == scan_kind::noscan) return;  // black at once
  const uintptr_t at = o.address();
  __builtin_prefetch(reinterpret_cast<const void*>(at));
  stack_[top_++] = at;
}

__attribute__((no_sanitize("address", "thread"))) void marker::mark_range(const void* lo, const void* hi) noexcept {
  constexpr uintptr_t w = sizeof(uintptr_t);
  auto* p = reinterpret_cast<const volatile uintptr_t*>((reinterpret_cast<uintptr_t>(lo) + w - 1) / w * w);
  auto* const end = reinterpret_cast<const volatile uintptr_t*>(reinterpret_cast<uintptr_t>(hi) / w * w);
  for (; p < end; ++p) mark_word(*p);
}

void marker::scan(uintptr_t object) noexcept {
  const mspan* const s = heap_.span_at(heap_.page_of(object));
  const auto* const words = reinterpret_cast<const uintptr_t*>(object);
  const size_t n = s->elem_size / sizeof(void*);
  if (s->kind() == scan_kind::ambiguous) {
    for (size_t i = 0; i < n; ++i) mark_word(__atomic_load_n(&words[i], __ATOMIC_RELAXED));
    return;
  }
  const reservation& r = heap_.space();
  const size_t first = (object - r.base()) / sizeof(void*);
  for (size_t i = 0; i < n;) {
    const size_t bit = first + i;
    const size_t at_bit = bit % 64;
    const size_t here = n - i < 64 - at_bit ? n - i : 64 - at_bit;
    uint64_t map = __atomic_load_n(&r.pointer_bits()[bit / 64], __ATOMIC_RELAXED) >> at_bit;
    if (here < 64) map &= (uint64_t{1} << here) - 1;
    for (; map != 0; map &= map - 1) mark_word(__atomic_load_n(&words[i + static_cast<size_t>(__builtin_ctzll(map))], __ATOMIC_RELAXED));
    i += here;
  }
}

void marker::drain() noexcept {
  while (top_ > 0) {
    if (top_ > deepest_) deepest_ = top_;
    scan(stack_[--top_]);
  }
}

void marker::trim() noexcept {
  constexpr size_t keep = 1 << 20;
  const size_t used = deepest_ * sizeof(uintptr_t);
  if (used <= keep) return;
  madvise(reinterpret_cast<std::byte*>(stack_) + keep, used - keep, MADV_DONTNEED);
}

}  // namespace warren::rt

#include "runtime/gc/pieced_word.h"

#include <algorithm>

namespace warren::rt {

namespace {
constexpr uintptr_t kSmallNumber = 64;  // indices of a select: max_select_cases
constexpr unsigned kMostNumbers = 4;
constexpr unsigned kMostText = 3;  // with its end

// Does an address in [lo, hi), or at its ends, belong to something marked?
bool any_marked(const mheap& heap, uintptr_t lo, uintptr_t hi) noexcept {
  const uintptr_t base = heap.space().base();
  lo = std::max(lo, base);
  hi = std::min(hi, base + heap.used_bytes());
  for (uintptr_t at = lo; at < hi;) {
    const mspan* const s = heap.span_at(heap.page_of(at));
    if (s == nullptr) {
      at = (at | (kPageSize - 1)) + 1;
      continue;
    }
    size_t i = (at - s->base) / s->elem_size;
    if (i > 0) --i;  // its end may be what was written
    for (; i < s->nelems && s->slot(i) < hi; ++i)
      if (s->is_marked(static_cast<uint32_t>(i))) return true;
    at = s->base + s->bytes();
  }
  return false;
}
}  // namespace

namespace {
bool is_word_before_marked(const mheap& heap, uintptr_t word) noexcept {
  const uintptr_t next = word + sizeof(void*);
  const object_ref o = heap.find_object(next);
  return o && o.address() == next && o.span->is_marked(o.index);
}
}  // namespace

bool may_be_nobodys(const mheap& heap, uintptr_t word, const object_ref& o) noexcept {
  if (o.span->magic != 0 && o.index % 64 == 0 && word == o.address()) return true;
  if (is_word_before_marked(heap, word)) return true;
  bool numbers = true;
  for (unsigned bytes = 1; bytes <= kMostNumbers; ++bytes) {
    const uintptr_t last = (word >> (8 * (bytes - 1))) & 0xff;
    numbers = numbers && last < kSmallNumber;
    if (!numbers && (last != 0 || bytes > kMostText)) continue;
    const uintptr_t block = uintptr_t{1} << (8 * bytes);
    if (any_marked(heap, word & ~(block - 1), (word & ~(block - 1)) + block)) return true;
  }
  return false;
}

}  // namespace warren::rt

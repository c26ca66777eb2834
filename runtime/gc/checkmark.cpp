#include "runtime/gc/checkmark.h"

#include <string.h>
#include <sys/mman.h>

#include "runtime/gc/pieced_word.h"
#include "runtime/os/fatal.h"

namespace warren::rt {

void checkmark::begin() noexcept {
  top_ = 0;
  objects_ = 0;
  doubtful_ = 0;
  stack_bytes_ = heap_.used_bytes() + 4096;
  void* const p = mmap(nullptr, stack_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) fatal("no address space for the checkmark run (%zu MiB): unset WARREN_GCCHECKMARK", stack_bytes_ >> 20);
  stack_ = static_cast<uintptr_t*>(p);
  heap_.for_each_span([this](mspan* s) { memset(bits_of(s), 0, s->groups() * 8); });
}

void checkmark::visit(uintptr_t word, const char* where, const void* at, evidence e) noexcept {
  const reservation& r = heap_.space();
  if (!r.contains(word)) return;
  mspan* const s = heap_.span_at(heap_.page_of(word));
  if (s == nullptr) return;
  const size_t i = (word - s->base) / s->elem_size;  // a true division: the magic one is under test as well
  if (i >= s->nelems || !s->is_allocated(static_cast<uint32_t>(i))) return;
  uint64_t& bits = bits_of(s)[i / 64];
  const uint64_t bit = uint64_t{1} << (i % 64);
  if ((bits & bit) != 0) return;
  bits |= bit;
  ++objects_;
  if (!s->is_marked(static_cast<uint32_t>(i))) {
    if (e == evidence::none || (e == evidence::cleared && may_be_nobodys(heap_, word, {s, static_cast<uint32_t>(i)}))) {
      ++doubtful_;
      bits &= ~bit;
      --objects_;
      return;
    }
    heap_.print_span(*s);
    fatal(
        "checkmark: the object at %p (slot %zu) is reachable but was not marked; found in a %s at %p (%#zx): the collector lost it, this "
        "is a bug in the runtime or a ptr written without its barrier",
        reinterpret_cast<void*>(s->slot(i)), i, where, at, static_cast<size_t>(word));
  }
  stack_[top_++] = s->slot(i);
}

void checkmark::root(uintptr_t word, const char* where, const void* at) noexcept { visit(word, where, at, evidence::proof); }

__attribute__((no_sanitize("address", "thread"))) void checkmark::range(const void* lo, const void* hi, const char* where,
                                                                        evidence e) noexcept {
  constexpr uintptr_t w = sizeof(uintptr_t);
  const uintptr_t end = reinterpret_cast<uintptr_t>(hi);
  for (uintptr_t a = (reinterpret_cast<uintptr_t>(lo) + w - 1) / w * w; a + w <= end; a += w) {
    visit(*reinterpret_cast<const volatile uintptr_t*>(a), where, reinterpret_cast<const void*>(a), e);
  }
}

uint64_t checkmark::finish(bool no_floating) noexcept {
  const reservation& r = heap_.space();
  while (top_ > 0) {
    const uintptr_t object = stack_[--top_];
    const mspan* const s = heap_.span_at(heap_.page_of(object));
    if (s->kind() == scan_kind::noscan) continue;
    for (uintptr_t a = object; a + sizeof(void*) <= object + s->elem_size; a += sizeof(void*)) {
      const size_t bit = (a - r.base()) / sizeof(void*);
      if (s->kind() == scan_kind::precise && ((r.pointer_bits()[bit / 64] >> (bit % 64)) & 1) == 0) continue;
      // A word of an ambiguous object may be a number that was written after the object was scanned.
      visit(*reinterpret_cast<const volatile uintptr_t*>(a), "collected object", reinterpret_cast<const void*>(a),
            no_floating || s->kind() == scan_kind::precise ? evidence::proof : evidence::none);
    }
  }
  munmap(stack_, stack_bytes_);
  stack_ = nullptr;
  if (!no_floating) return objects_;
  heap_.for_each_span([this](mspan* s) {
    for (uint32_t i = 0; i < s->nelems; ++i) {
      if (!s->is_marked(i) || ((bits_of(s)[i / 64] >> (i % 64)) & 1) != 0) continue;
      heap_.print_span(*s);
      fatal(
          "checkmark: the object at %p (slot %u) was marked but nothing points to it: the collector invented a mark, this is a bug in the "
          "runtime",
          reinterpret_cast<void*>(s->slot(i)), i);
    }
  });
  return objects_;
}

}  // namespace warren::rt

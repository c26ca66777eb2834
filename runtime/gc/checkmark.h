// Checkmark: after a marking, mark again from the same roots with other code into other bits, and compare.
//
// Reached here and not marked: the collection would free a live object. Marked and not reached here: it invented a mark. In mode `stw`
// nothing ran in between, so both are bugs, and reported with the span, the object, and who points to it.
#pragma once
#include <cstdint>

#include "runtime/heap/mheap.h"

namespace warren::rt {

class checkmark {
 public:
  explicit checkmark(mheap& h) noexcept : heap_(h) {}

  // Clears the check bits of all spans.
  void begin() noexcept;
  // A root word; `where` names the kind of root in reports.
  void root(uintptr_t word, const char* where, const void* at) noexcept;
  void range(const void* lo, const void* hi, const char* where) noexcept;
  // Follows everything; fatal on the first difference. Returns the number of objects.
  uint64_t finish() noexcept;

 private:
  void visit(uintptr_t word, const char* where, const void* at) noexcept;
  uint64_t* bits_of(const mspan* s) const noexcept { return heap_.space().check_bits() + heap_.page_of(s->base) * kBitmapWordsPerPage; }

  mheap& heap_;
  size_t top_ = 0;
  uint64_t objects_ = 0;
};

}  // namespace warren::rt

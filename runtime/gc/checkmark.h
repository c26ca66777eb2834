// Checkmark: after a marking, mark again from the roots with other code into other bits, and compare. The world stands.
//
// Reached here and not marked: the collection would free a live object. Marked and not reached here: in mode `stw`, where nothing ran
// in between, an invented mark; in the concurrent modes an object that became garbage while they marked. What is wrong is reported with
// the span, the object, and who points to it.
//
// Words of stacks need care in the concurrent modes. A goroutine that ran since its scan may have gone deeper, and what a frame has not
// written yet is left over from before the scan: it looks like a pointer that was lost. So in a run with checkmark the collector clears
// what lies below the stack pointer when it scans a stack; a stack of which that is known (`cleared`) must lead to marked objects only,
// except by words that were not written as a whole (pieced_word.h). What other words of stacks lead to and is not marked is counted, and
// not followed.
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
  // What an unmarked object proves to which a word leads.
  enum class evidence : uint8_t {
    none,     // the word may be older than the marking, or a number
    cleared,  // it was written since the stack was scanned; perhaps not as a whole
    proof,
  };
  void range(const void* lo, const void* hi, const char* where, evidence e) noexcept;
  // Follows everything; fatal on the first object that should be marked and is not, or (no_floating) is and should not. Returns the number
  // of objects.
  uint64_t finish(bool no_floating) noexcept;
  // How many words led to unmarked objects and prove nothing.
  uint64_t doubtful() const noexcept { return doubtful_; }

 private:
  void visit(uintptr_t word, const char* where, const void* at, evidence e) noexcept;
  uint64_t* bits_of(const mspan* s) const noexcept { return heap_.space().check_bits() + heap_.page_of(s->base) * kBitmapWordsPerPage; }

  mheap& heap_;
  uintptr_t* stack_ = nullptr;  // a mapping of its own while it works, with room for every object
  size_t stack_bytes_ = 0;
  size_t top_ = 0;
  uint64_t objects_ = 0;
  uint64_t doubtful_ = 0;
};

}  // namespace warren::rt

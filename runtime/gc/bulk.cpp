// The cold half of warren/detail/bulk.h: shading a batch of words.
#include "warren/detail/bulk.h"

#include <functional>
#include <stdexcept>
#include <string>

#include "runtime/heap/size_class.h"
#include "runtime/heap/tunables.h"

namespace warren::detail {

[[noreturn]] void throw_bad_function_call();  // warren/function.h

void bulk_barrier(void** slots, void* const* old, size_t n, size_t first, const type_descriptor& element) noexcept {
  const size_t each = element.size / sizeof(void*);
  for (size_t i = 0; i < n; ++i) {
    const size_t word = (first + i) % each;
    if (((element.words[word / 64] >> (word % 64)) & 1) == 0) continue;
    void* const now = load_word(slots + i);
    if (old[i] == nullptr && now == nullptr) continue;
    barrier_assign(slots + i, old[i], now);
  }
}

void shade_words_slow(void* const* at, size_t n) noexcept {
  for (size_t i = 0; i < n; ++i) {
    void* const now = load_word(at + i);
    if (now != nullptr) barrier_assign(const_cast<void**>(at + i), now, now);  // as old and as new value: shaded in every mode
  }
}

size_t array_capacity(const type_descriptor& element, size_t n) noexcept {
  using namespace rt;
  size_t bytes;
  if (__builtin_mul_overflow(element.size, n, &bytes) || bytes >= (size_t{1} << 47)) return n;  // new_array says what is wrong
  ++bytes;
  // Small pointer-free arrays share blocks: they get what they ask for.
  if (bytes < kTinySize && element.kind == layout_kind::noscan) return n;
  const size_t slot =
      bytes <= kMaxSmallSize ? size_class_at(size_class_of(bytes, element.align)).size : (bytes + kPageSize - 1) / kPageSize * kPageSize;
  return (slot - 1) / element.size;
}

void throw_out_of_range(const char* what, size_t index, size_t size) {
  throw std::out_of_range(std::string(what) + ": index " + std::to_string(index) + " of " + std::to_string(size) + " elements");
}
void throw_no_such_key(const char* what) { throw std::out_of_range(std::string(what) + ": no element with that key"); }
void throw_bad_function_call() { throw std::bad_function_call(); }
void throw_length_error(const char* what) {
  throw std::length_error(std::string(what) + ": more elements than fit into the address space");
}

}  // namespace warren::detail

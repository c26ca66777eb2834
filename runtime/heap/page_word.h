// What a page of a small span holds, in 32 bits: a marker goes from an address to the object's size, kind and mark bit by this word and the
// table of size classes alone. The words of a gigabyte of heap are half a megabyte and stay in a processor's second cache; the descriptors
// of its spans are up to 24 MiB and do not.
//
//   0             no span, or a span of one object: ask the span
//   bits 0–7      span class
//   bits 8–30     how many pages before this one the span begins
//   bit 31        the page waits to be scanned (spans of one page only; runtime/gc/mark.h)
//
// Written when the span is published (release: who reads the word by an invented address finds bits that are this span's) and when it is
// freed, which markers do not live to see.
#pragma once
#include <array>
#include <cstdint>

#include "runtime/heap/size_class.h"

namespace warren::rt {

class page_word {
 public:
  constexpr explicit page_word(uint32_t bits) noexcept : bits_(bits) {}
  constexpr page_word(uint8_t span_class, size_t pages_before) noexcept : bits_(span_class | static_cast<uint32_t>(pages_before) << 8) {}

  constexpr uint32_t bits() const noexcept { return bits_; }
  constexpr bool small() const noexcept { return bits_ != 0; }
  constexpr uint8_t span_class() const noexcept { return static_cast<uint8_t>(bits_); }
  constexpr size_t pages_before() const noexcept { return (bits_ & ~kWaits) >> 8; }

  // Who has marked an object: true for the one caller whose business it is to queue the page.
  static bool start_waiting(uint32_t* word) noexcept {
    if ((__atomic_load_n(word, __ATOMIC_SEQ_CST) & kWaits) != 0) return false;
    return (__atomic_fetch_or(word, kWaits, __ATOMIC_SEQ_CST) & kWaits) == 0;
  }
  // Who takes the page from the queue, before looking at its marks.
  static page_word stop_waiting(uint32_t* word) noexcept {
    return page_word(__atomic_fetch_and(word, ~kWaits, __ATOMIC_SEQ_CST) & ~kWaits);
  }

 private:
  static constexpr uint32_t kWaits = uint32_t{1} << 31;
  uint32_t bits_;
};

// The slots of a span class, in one cache line.
struct slot_shape {
  uint32_t size = 0, magic = 0;
  uint16_t objects = 0;
  uint8_t bit_tier = 0, pages = 0;
  scan_kind kind = scan_kind::noscan;
};
inline constexpr auto kSlotShapes = [] {
  std::array<slot_shape, kSpanClasses> shapes{};
  for (size_t c = 0; c < kSpanClasses; ++c) {
    const size_class& k = size_class_at(size_class_in(static_cast<uint8_t>(c)));
    shapes[c] = {.size = k.size,
                 .magic = k.magic,
                 .objects = static_cast<uint16_t>(k.objects),
                 .bit_tier = static_cast<uint8_t>(bit_tier_of(k.size)),
                 .pages = static_cast<uint8_t>(k.pages),
                 .kind = scan_kind_in(static_cast<uint8_t>(c))};
  }
  return shapes;
}();

}  // namespace warren::rt

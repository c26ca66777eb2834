// Size classes: which slot sizes there are, and which one an object gets.
//
// The table is computed by the compiler from three rules, and checked by tests/runtime/heap/size_class_test:
//   1. Sizes grow by 8 up to 32, by 16 up to 256, then by an eighth of the power of two below: with rule 3, rounding up wastes
//      at most 1/7 of the slot from 128 bytes on.
//   2. A class takes the fewest pages whose unused tail is at most 1/8 of the span, 1/16 from 1024 bytes on (or rule 3 would leave gaps of
//      a third there).
//   3. Of two classes with equal spans and equally many objects the larger replaces the smaller: it holds the same objects for nothing.
// Class 0 stands for objects that have a span of their own.
//
// Alignment: a slot of size s is aligned to the largest power of two that divides s (spans begin at pages). An object goes to the smallest
// class that is large enough and whose size its alignment divides.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "runtime/heap/tunables.h"

namespace warren::rt {

struct size_class {
  uint32_t size = 0;     // bytes of a slot
  uint32_t pages = 0;    // of a span
  uint32_t objects = 0;  // in a span
  uint32_t magic = 0;    // ceil(2^32 / size): offset * magic >> 32 is offset / size for every offset in the span (tested for all)
};

namespace size_class_rules {
inline constexpr size_t kCapacity = 80;
struct table {
  std::array<size_class, kCapacity> classes{};
  size_t count = 1;  // class 0
};
constexpr size_t step(size_t size) {
  if (size < 32) return 8;
  if (size < 256) return 16;
  size_t power = 256;
  while (power * 2 <= size) power *= 2;
  return power / 8;
}
constexpr table compute() {
  table t;
  for (size_t size = 8; size <= kMaxSmallSize; size += step(size)) {
    size_t bytes = kPageSize;
    const size_t part = size < 1024 ? 8 : 16;
    while (bytes % size > bytes / part) bytes += kPageSize;
    size_class c;
    c.size = static_cast<uint32_t>(size);
    c.pages = static_cast<uint32_t>(bytes / kPageSize);
    c.objects = static_cast<uint32_t>(bytes / size);
    c.magic = static_cast<uint32_t>(((uint64_t{1} << 32) + size - 1) / size);
    size_class& last = t.classes[t.count - 1];
    if (t.count > 1 && last.pages == c.pages && last.objects == c.objects) {
      last = c;
    } else {
      t.classes[t.count++] = c;
    }
  }
  return t;
}
}  // namespace size_class_rules

inline constexpr size_class_rules::table kSizeClassTable = size_class_rules::compute();
inline constexpr size_t kSizeClasses = kSizeClassTable.count;
inline constexpr const size_class& size_class_at(size_t c) { return kSizeClassTable.classes[c]; }

// Two look-up tables: in steps of 8 bytes up to 1024, of 128 above.
struct size_lookup {
  std::array<uint8_t, 1024 / 8 + 1> small{};
  std::array<uint8_t, (kMaxSmallSize - 1024) / 128 + 1> large{};
};
constexpr size_lookup compute_size_lookup() {
  size_lookup l;
  size_t c = 1;
  for (size_t i = 0; i < l.small.size(); ++i) {
    while (kSizeClassTable.classes[c].size < i * 8) ++c;
    l.small[i] = static_cast<uint8_t>(c);
  }
  for (size_t i = 0; i < l.large.size(); ++i) {
    while (kSizeClassTable.classes[c].size < 1024 + i * 128) ++c;
    l.large[i] = static_cast<uint8_t>(c);
  }
  return l;
}
inline constexpr size_lookup kSizeLookup = compute_size_lookup();

// REQUIRES: size <= kMaxSmallSize. Size 0 gets the smallest class.
constexpr uint8_t size_class_of(size_t size) {
  if (size <= 1024) return kSizeLookup.small[(size + 7) / 8];
  return kSizeLookup.large[(size - 1024 + 127) / 128];
}
// align: a power of two up to kPageSize.
constexpr uint8_t size_class_of(size_t size, size_t align) {
  uint8_t c = size_class_of(size);
  if (align > 8) {
    while (kSizeClassTable.classes[c].size % align != 0) ++c;
  }
  return c;
}

// Object bits of small slots take more room for each page. Tier t: slots of at least 64 >> t bytes, so at most 128 << t of them in a page,
// and (1 << (t + kTopTierShift)) words of bits, half of them alloc bits.
inline constexpr int kBitTiers = 4;
inline constexpr int kTopTierShift = 2;
constexpr int bit_tier_of(size_t size) {
  int tier = 0;
  while (tier < kBitTiers - 1 && size < size_t{64} >> tier) ++tier;
  return tier;
}

// Span class: a size class and what the collector finds in its objects.
enum class scan_kind : uint8_t { noscan = 0, precise = 1, ambiguous = 2 };
inline constexpr size_t kScanKinds = 3;
inline constexpr size_t kSpanClasses = kSizeClasses * kScanKinds;
static_assert(kSpanClasses <= 256, "span classes are stored in one byte");
constexpr uint8_t span_class_of(size_t size_class, scan_kind k) {
  return static_cast<uint8_t>(size_class * kScanKinds + static_cast<size_t>(k));
}
constexpr size_t size_class_in(uint8_t span_class) { return span_class / kScanKinds; }
constexpr scan_kind scan_kind_in(uint8_t span_class) { return static_cast<scan_kind>(span_class % kScanKinds); }

}  // namespace warren::rt

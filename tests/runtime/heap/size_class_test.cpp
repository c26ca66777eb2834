#include "runtime/heap/size_class.h"

#include <gtest/gtest.h>

namespace warren::rt {
namespace {

TEST(SizeClass, TableIsAscendingAndEndsAtTheLargestSmallSize) {
  ASSERT_GE(kSizeClasses, 60u);
  ASSERT_LE(kSizeClasses, 80u);
  EXPECT_EQ(size_class_at(0).size, 0u);
  EXPECT_EQ(size_class_at(1).size, 8u);
  for (size_t c = 2; c < kSizeClasses; ++c) EXPECT_LT(size_class_at(c - 1).size, size_class_at(c).size);
  EXPECT_EQ(size_class_at(kSizeClasses - 1).size, kMaxSmallSize);
}

TEST(SizeClass, EverySizeGetsTheSmallestClassThatHoldsIt) {
  for (size_t size = 1; size <= kMaxSmallSize; ++size) {
    const size_t c = size_class_of(size);
    ASSERT_GE(size_class_at(c).size, size);
    if (c > 1) {
      ASSERT_LT(size_class_at(c - 1).size, size);
    }
  }
  EXPECT_EQ(size_class_of(0), 1);
}

TEST(SizeClass, AlignmentDividesTheSlotSize) {
  for (size_t align = 1; align <= kPageSize; align *= 2) {
    for (size_t size = align; size <= kMaxSmallSize; size += align) {
      const size_class& c = size_class_at(size_class_of(size, align));
      ASSERT_GE(c.size, size);
      ASSERT_EQ(c.size % (align < 8 ? 8 : align), 0u) << size << " aligned to " << align;
    }
  }
}

// Waste per class: of the span's tail, and of an object one byte larger than the class below. (Small classes round up by more: 9 bytes
// take 16.)
TEST(SizeClass, WasteIsBounded) {
  for (size_t c = 1; c < kSizeClasses; ++c) {
    const size_class& k = size_class_at(c);
    const size_t bytes = size_t{k.pages} * kPageSize;
    ASSERT_EQ(k.objects, bytes / k.size);
    EXPECT_LE(bytes - size_t{k.objects} * k.size, bytes / 8) << k.size;
    if (k.size > 128) {
      const size_t worst = size_class_at(c - 1).size + 1;
      EXPECT_LE((k.size - worst) * 7, k.size) << k.size;
    }
    RecordProperty("class_" + std::to_string(k.size), static_cast<int>(1000 * (bytes - size_t{k.objects} * k.size) / bytes));
  }
}

TEST(SizeClass, MagicDividesExactly) {
  for (size_t c = 1; c < kSizeClasses; ++c) {
    const size_class& k = size_class_at(c);
    const size_t bytes = size_t{k.pages} * kPageSize;
    for (size_t offset = 0; offset < bytes; ++offset)
      ASSERT_EQ(offset * k.magic >> 32, offset / k.size) << "offset " << offset << " size " << k.size;
  }
}

TEST(SizeClass, SpanClassCombinesSizeAndKind) {
  for (size_t c = 0; c < kSizeClasses; ++c) {
    for (const scan_kind k : {scan_kind::noscan, scan_kind::precise, scan_kind::ambiguous}) {
      const uint8_t s = span_class_of(c, k);
      EXPECT_EQ(size_class_in(s), c);
      EXPECT_EQ(scan_kind_in(s), k);
    }
  }
}

// No span has more objects than its pages have bits.
TEST(SizeClass, BitmapsAreLargeEnough) {
  for (size_t c = 1; c < kSizeClasses; ++c) EXPECT_LE(size_class_at(c).objects, size_class_at(c).pages * kBitmapBytesPerPage * 8);
}

}  // namespace
}  // namespace warren::rt

// The kernels that gather a page's pointers: each against a loop over words that knows nothing of windows and lines, for every size, over
// random pages.
#include "runtime/gc/grey_page.h"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <string>
#include <vector>

namespace warren::rt {
namespace {

constexpr uintptr_t kHeap = uintptr_t{1} << 40;
constexpr size_t kHeapBytes = size_t{3} << 20;

struct page {
  alignas(kPageSize) std::array<uintptr_t, grey_page::kWords> memory;
  std::array<uint64_t, grey_page::kBlocks> pointers;
  grey_page grey;

  bool is_grey(size_t word) const {
    const size_t object = word / grey.words;
    return ((grey.grey[object / 64] >> (object % 64)) & 1) != 0;
  }
  std::vector<uintptr_t> expected(size_t block, size_t blocks) const {
    std::vector<uintptr_t> found;
    for (size_t i = block * 64; i < (block + blocks) * 64; ++i)
      if (is_grey(i) && ((pointers[i / 64] >> (i % 64)) & 1) != 0 && memory[i] - kHeap < kHeapBytes) found.push_back(memory[i]);
    return found;
  }
};

// A word whose bits are set with probability `part` / 8.
uint64_t sparse(std::mt19937_64& random, unsigned part) {
  uint64_t bits = part == 8 ? ~uint64_t{0} : 0;
  for (unsigned bit = 1; bit <= 4; bit <<= 1) bits = (part & bit) != 0 ? bits | random() : bits & random();
  return part == 0 ? 0 : part == 8 ? ~uint64_t{0} : bits;
}

class Kernel : public ::testing::TestWithParam<page_kernel> {
 protected:
  void SetUp() override {
    if (!has_kernel(GetParam())) GTEST_SKIP() << "this processor has no " << to_string(GetParam());
  }
  void compare(const page& p) {
    for (size_t block = 0; block < grey_page::kBlocks; block += kGatherBlocks) {
      std::array<uintptr_t, kGatherRoom + 1> out;
      out.fill(0x5a5a);
      const size_t n = kernel_of(GetParam())(p.grey, block, kHeap, kHeapBytes, out.data());
      ASSERT_LE(n, kGatherBlocks * 64);
      ASSERT_EQ(std::vector<uintptr_t>(out.begin(), out.begin() + static_cast<ptrdiff_t>(n)), p.expected(block, kGatherBlocks))
          << "objects of " << p.grey.words << " words, block " << block;
      ASSERT_EQ(out.back(), 0x5a5au) << "wrote behind its room";
    }
  }
};

TEST_P(Kernel, FindsWhatALoopOverWordsFinds) {
  std::mt19937_64 random(20);
  auto p = std::make_unique<page>();
  p->grey.at = reinterpret_cast<uintptr_t>(p->memory.data());
  p->grey.pointers = p->pointers.data();
  for (uint32_t words = 1; words <= grey_page::kMostWords; ++words) {  // the sizes of all classes are among them
    p->grey.words = words;
    const size_t size = words * sizeof(uintptr_t);
    p->grey.magic = static_cast<uint32_t>(((uint64_t{1} << 32) + size - 1) / size);
    const size_t objects = grey_page::kWords / words;
    for (unsigned round = 0; round < 60; ++round) {
      for (uintptr_t& word : p->memory) {
        switch (random() % 8) {
          case 0: word = 0; break;
          case 1: word = random(); break;
          case 2: word = kHeap - 1 - random() % 2; break;
          case 3: word = kHeap + kHeapBytes - 1 + random() % 2; break;
          default: word = kHeap + random() % kHeapBytes;
        }
      }
      const unsigned many = round % 9, pointers = round / 9 % 9;
      for (uint64_t& bits : p->pointers) bits = sparse(random, pointers);
      for (size_t group = 0; group < grey_page::kBlocks; ++group) {
        uint64_t bits = sparse(random, many);
        for (size_t i = 0; i < 64; ++i)
          if (group * 64 + i >= objects) bits &= ~(uint64_t{1} << i);
        p->grey.grey[group] = bits;
      }
      ASSERT_NO_FATAL_FAILURE(compare(*p));
    }
    // Each object alone, all of its words.
    p->pointers.fill(~uint64_t{0});
    p->memory.fill(kHeap);
    for (size_t i = 0; i < grey_page::kWords; ++i) p->memory[i] += i;
    for (size_t object = 0; object < objects; ++object) {
      std::fill(std::begin(p->grey.grey), std::end(p->grey.grey), 0);
      p->grey.grey[object / 64] = uint64_t{1} << (object % 64);
      ASSERT_NO_FATAL_FAILURE(compare(*p));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Kernel, ::testing::Values(page_kernel::portable, page_kernel::avx512),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST(KernelNames, AreReadBack) {
  for (const page_kernel k : {page_kernel::portable, page_kernel::avx512}) {
    page_kernel read = page_kernel::portable;
    EXPECT_TRUE(parse_page_kernel(to_string(k), &read));
    EXPECT_EQ(read, k);
  }
  page_kernel k;
  EXPECT_FALSE(parse_page_kernel("neon", &k));
  EXPECT_TRUE(has_kernel(page_kernel::portable));
}

// What the kernels take for granted of the heap's classes.
TEST(KernelSizes, EverySmallClassOfOnePageIsOneOfWholeWords) {
  for (size_t c = 1; c < kSizeClasses; ++c) {
    const size_class& k = size_class_at(c);
    EXPECT_EQ(k.size % sizeof(uintptr_t), 0u);
    if (k.pages == 1) {
      EXPECT_LE(k.objects, grey_page::kWords);
    }
  }
}

}  // namespace
}  // namespace warren::rt

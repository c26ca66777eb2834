// What grey objects lead to within their page: with each kernel, against a search that follows one word at a time.
#include "runtime/gc/page_closure.h"

#include <gtest/gtest.h>

#include <bit>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace warren::rt {
namespace {

constexpr size_t kHeapPages = 64;

struct page {
  alignas(kPageSize) std::array<uintptr_t, grey_page::kWords> memory{};
  std::array<uint64_t, grey_page::kBlocks> pointers{};
  page_bits white{};
  grey_page grey;

  explicit page(uint32_t words) {
    grey.at = reinterpret_cast<uintptr_t>(memory.data());
    grey.pointers = pointers.data();
    grey.words = words;
    grey.groups = static_cast<uint32_t>((objects() + 63) / 64);
    const size_t size = words * sizeof(uintptr_t);
    grey.magic = static_cast<uint32_t>((uint64_t{1} << 32) / size + ((uint64_t{1} << 32) % size != 0 ? 1 : 0));
  }
  size_t objects() const { return grey_page::kWords / grey.words; }
  // The page lies in the middle of it.
  uintptr_t heap() const { return grey.at - kHeapPages / 2 * kPageSize; }
  static size_t heap_bytes() { return kHeapPages * kPageSize; }

  void set(size_t object, size_t word, uintptr_t to) {
    const size_t i = object * grey.words + word;
    memory[i] = to;
    pointers[i / 64] |= uint64_t{1} << (i % 64);
  }
  uintptr_t object(size_t i) const { return grey.at + i * grey.words * sizeof(uintptr_t); }
};

bool has(const page_bits& bits, size_t i) { return ((bits[i / 64] >> (i % 64)) & 1) != 0; }
bool is_grey(const grey_page& p, size_t i) { return ((p.grey[i / 64] >> (i % 64)) & 1) != 0; }

struct result {
  page_bits white;
  std::multiset<uintptr_t> elsewhere;
  size_t reached = 0;
  bool operator==(const result&) const = default;
};

result naive(const page& p) {
  result r{p.white, {}, 0};
  std::vector<size_t> queue;
  for (size_t i = 0; i < p.objects(); ++i)
    if (is_grey(p.grey, i)) queue.push_back(i);
  for (size_t next = 0; next < queue.size(); ++next) {
    for (size_t k = 0; k < p.grey.words; ++k) {
      const size_t i = queue[next] * p.grey.words + k;
      const uintptr_t word = p.memory[i];
      if (!has(p.pointers, i) || word - p.heap() >= page::heap_bytes()) continue;
      if (word - p.grey.at >= kPageSize) {
        r.elsewhere.insert(word);
        continue;
      }
      const size_t to = (word - p.grey.at) / (p.grey.words * sizeof(uintptr_t));
      if (to >= p.objects() || !has(r.white, to)) continue;
      r.white[to / 64] ^= uint64_t{1} << (to % 64);
      queue.push_back(to);
      ++r.reached;
    }
  }
  return r;
}

class Closure : public ::testing::TestWithParam<page_kernel> {
 protected:
  void SetUp() override {
    if (!has_kernel(GetParam())) GTEST_SKIP() << "this processor has no " << to_string(GetParam());
  }
  static result closed(const page& p) {
    const page_closure closure(kernel_of(GetParam()), p.heap(), page::heap_bytes());
    result r{p.white, {}, 0};
    grey_page grey = p.grey;
    r.reached = closure.follow(grey, r.white, [&r](uintptr_t word) { r.elsewhere.insert(word); });
    return r;
  }
};

// Objects that are linked at random, within the page for the most part; grey, white and black ones; words that are no pointers.
TEST_P(Closure, OfRandomPages) {
  std::mt19937_64 random(30);
  for (uint32_t words = 1; words <= grey_page::kMostWords; ++words) {  // the sizes of all classes are among them
    for (unsigned round = 0; round < 20; ++round) {
      auto p = std::make_unique<page>(words);
      for (size_t i = 0; i < grey_page::kWords; ++i) {
        uintptr_t& word = p->memory[i];
        switch (random() % 8) {
          case 0: word = 0; break;
          case 1: word = random(); break;
          case 2: word = p->heap() + random() % page::heap_bytes(); break;
          default: word = p->grey.at + random() % kPageSize;
        }
        if (random() % 8 != 0) p->pointers[i / 64] |= uint64_t{1} << (i % 64);
      }
      for (size_t i = 0; i < p->objects(); ++i) {
        const uint64_t bit = uint64_t{1} << (i % 64);
        if (random() % 64 <= round / 4) {
          p->grey.grey[i / 64] |= bit;
        } else if (random() % 4 != 0) {
          p->white[i / 64] |= bit;
        }
      }
      ASSERT_EQ(closed(*p), naive(*p)) << "objects of " << words << " words, round " << round;
    }
  }
}

// A list through all objects, of which each is found by the one before only; and a tree.
TEST_P(Closure, OfAListAndOfATree) {
  for (uint32_t words = 2; words <= grey_page::kMostWords; ++words) {
    for (const bool tree : {false, true}) {
      auto p = std::make_unique<page>(words);
      const size_t n = p->objects();
      for (size_t i = 0; i < n; ++i) {
        if (i != 0) p->white[i / 64] |= uint64_t{1} << (i % 64);
        if (!tree && i + 1 < n) p->set(i, 1, p->object(i + 1) + 8);
        if (tree && 2 * i + 1 < n) p->set(i, 0, p->object(2 * i + 1));
        if (tree && 2 * i + 2 < n) p->set(i, 1, p->object(2 * i + 2));
      }
      p->set(n - 1, 0, p->grey.at + kPageSize);
      p->grey.grey[0] = 1;
      const result r = closed(*p);
      EXPECT_EQ(r.reached, n - 1) << words;
      EXPECT_EQ(r.white, page_bits{}) << words;
      EXPECT_EQ(r.elsewhere, std::multiset<uintptr_t>{p->grey.at + kPageSize}) << words;
    }
  }
}

// Nothing is grey; nothing is white.
TEST_P(Closure, OfNothing) {
  auto p = std::make_unique<page>(2);
  for (size_t i = 0; i < p->objects(); ++i) p->set(i, 0, p->object((i + 1) % p->objects()));
  p->white.fill(~uint64_t{0});
  EXPECT_EQ(closed(*p).reached, 0u);
  p->white.fill(0);
  p->grey.grey[3] = ~uint64_t{0};
  EXPECT_EQ(closed(*p).reached, 0u);
}

INSTANTIATE_TEST_SUITE_P(All, Closure, ::testing::Values(page_kernel::portable, page_kernel::avx512),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST(PageBits, AreCounted) {
  std::mt19937_64 random(31);
  for (int i = 0; i < 1000; ++i) {
    const uint64_t bits = i < 64 ? uint64_t{1} << i : i == 64 ? 0 : i == 65 ? ~uint64_t{0} : random() & random();
    ASSERT_EQ(count_bits(bits), static_cast<uint32_t>(std::popcount(bits)));
  }
}

}  // namespace
}  // namespace warren::rt

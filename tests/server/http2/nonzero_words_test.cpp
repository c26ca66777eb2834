#include "server/http2/nonzero_words.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace warren::http2 {
namespace {

// From nothing to everything, of sizes below, at and above a mask's 64 words.
TEST(nonzero_words, comes_back) {
  std::minstd_rand random(3);
  for (const size_t words : {1u, 2u, 63u, 64u, 65u, 128u, 640u, 1000u}) {
    for (const unsigned one_in : {1u, 2u, 7u, 300u, 0u}) {
      std::string memory(words * 8, '\0');
      for (char& c : memory)
        if (one_in != 0 && random() % one_in == 0) c = static_cast<char>(random());
      const std::string before = memory;
      nonzero_words kept;
      EXPECT_TRUE(kept.empty());
      ASSERT_TRUE(kept.keep(memory.data(), memory.size()));
      EXPECT_FALSE(kept.empty());
      if (random() % 2 == 0) memory.assign(memory.size(), '\0');  // or the pages were not taken
      kept.put_back(memory.data());
      EXPECT_TRUE(kept.empty());
      EXPECT_TRUE(memory == before) << words << " words, one in " << one_in;
    }
  }
}

// Where a word begins does not matter to who keeps it.
TEST(nonzero_words, a_single_bit_anywhere) {
  for (size_t at = 0; at < 100 * 8; at++) {
    std::string memory(100 * 8, '\0');
    memory[at] = 1;
    nonzero_words kept;
    ASSERT_TRUE(kept.keep(memory.data(), memory.size()));
    memory[at] = 0;
    kept.put_back(memory.data());
    EXPECT_EQ(memory.find('\1'), at);
  }
}

// Kept and never put back.
TEST(nonzero_words, can_be_dropped) {
  const std::string memory(4096, 'x');
  nonzero_words kept;
  ASSERT_TRUE(kept.keep(memory.data(), memory.size()));
}

}  // namespace
}  // namespace warren::http2

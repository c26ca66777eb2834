// What a session's memory gives, takes back, and keeps while the session sleeps.
#include "server/http2/session_memory.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace warren::http2 {
namespace {

TEST(session_memory, blocks_come_back) {
  free_blocks kept;
  session_memory m;
  m.lend(&kept);
  nghttp2_mem* t = m.table();
  void* a = t->malloc(100, t->mem_user_data);
  std::memset(a, 1, 100);
  t->free(a, t->mem_user_data);
  EXPECT_EQ(t->malloc(120, t->mem_user_data), a);  // the same number of steps
  auto* z = static_cast<char*>(t->calloc(10, 12, t->mem_user_data));
  for (int i = 0; i < 120; i++) ASSERT_EQ(z[i], 0);
  std::memcpy(z, "kept", 5);
  z = static_cast<char*>(t->realloc(z, 700, t->mem_user_data));
  EXPECT_STREQ(z, "kept");
  z = static_cast<char*>(t->realloc(z, 70'000, t->mem_user_data));
  EXPECT_STREQ(z, "kept");
  z = static_cast<char*>(t->realloc(z, 100, t->mem_user_data));
  EXPECT_STREQ(z, "kept");
  t->free(z, t->mem_user_data);
  t->free(a, t->mem_user_data);
  t->free(nullptr, t->mem_user_data);
  EXPECT_EQ(t->calloc(SIZE_MAX, 2, t->mem_user_data), nullptr);
}

TEST(session_memory, blocks_outlive_who_lends_them) {
  session_memory m;
  nghttp2_mem* t = m.table();
  void* a = t->malloc(100, t->mem_user_data);
  {
    free_blocks kept;
    m.lend(&kept);
    void* b = t->malloc(100, t->mem_user_data);
    t->free(a, t->mem_user_data);
    a = b;
    m.lend(nullptr);
  }
  t->free(a, t->mem_user_data);
}

TEST(session_memory, trim_empties_the_large_blocks_and_only_if_there_is_no_stream) {
  session_memory m;
  nghttp2_mem* t = m.table();
  t->malloc(1000, t->mem_user_data);  // the core
  auto* frame = static_cast<char*>(t->malloc(16'408, t->mem_user_data));
  auto* streams = static_cast<char*>(t->calloc(256, 16, t->mem_user_data));
  m.seal();
  for (int i = 0; i < 4096; i++) ASSERT_EQ(streams[i], 0);
  std::memset(frame, 'f', 16'408);
  streams[4088] = 1;
  m.trim();
  EXPECT_EQ(streams[4088], 1);
  EXPECT_EQ(frame[0], 'f');
  streams[4088] = 0;
  m.trim();
  if (m.asleep()) {  // as it is with pages of 4 KiB
    m.wake();
    EXPECT_EQ(frame[0] + frame[16'000], 0);
  }
  // They can be given back and made again; others of their sizes are malloc's.
  auto* second = static_cast<char*>(t->malloc(16'408, t->mem_user_data));
  EXPECT_NE(second, frame);
  t->free(frame, t->mem_user_data);
  EXPECT_EQ(t->malloc(16'408, t->mem_user_data), frame);
  streams[7] = 's';
  auto* larger = static_cast<char*>(t->realloc(streams, 8192, t->mem_user_data));
  EXPECT_NE(larger, streams);
  EXPECT_EQ(larger[7], 's');
  EXPECT_EQ(t->calloc(256, 16, t->mem_user_data), streams);
  EXPECT_EQ(streams[7], 0);
  t->free(larger, t->mem_user_data);
  t->free(second, t->mem_user_data);
}

// The core's blocks keep their places and what is in them; whatever else is large is malloc's.
TEST(session_memory, the_core_sleeps) {
  session_memory m;
  nghttp2_mem* t = m.table();
  const auto make = [&](size_t n) { return static_cast<char*>(t->malloc(n, t->mem_user_data)); };
  struct block {
    char* at;
    size_t n;
  };
  std::vector<block> blocks;
  for (const size_t n : {2936, 1024, 1024, 777, 1001}) blocks.push_back({make(n), n});
  char* const too_large = make(4000);  // no place left for it
  m.seal();
  char* const later = make(900);
  std::minstd_rand random(5);
  for (int round = 0; round < 50; round++) {
    for (const block& b : blocks) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(b.at) % 16, 0u);
      for (size_t i = 0; i < b.n; i++) b.at[i] = random() % 4 == 0 ? static_cast<char>(random()) : '\0';
    }
    std::vector<std::string> before;
    for (const block& b : blocks) before.emplace_back(b.at, b.n);
    std::memset(too_large, round, 4000);
    std::memset(later, round, 900);
    m.trim();
    if (!m.asleep()) GTEST_SKIP() << "pages are not of 4 KiB";
    m.wake();
    EXPECT_FALSE(m.asleep());
    for (size_t i = 0; i < blocks.size(); i++) EXPECT_TRUE(std::string(blocks[i].at, blocks[i].n) == before[i]) << i;
    EXPECT_EQ(too_large[3999], round);
    EXPECT_EQ(later[899], round);
  }
  // One that grows is malloc's from then on.
  std::memcpy(blocks[4].at, "grows", 6);
  auto* const grown = static_cast<char*>(t->realloc(blocks[4].at, 5000, t->mem_user_data));
  EXPECT_NE(grown, blocks[4].at);
  EXPECT_STREQ(grown, "grows");
  EXPECT_EQ(t->realloc(blocks[3].at, 700, t->mem_user_data), blocks[3].at);
  for (char* p : {grown, too_large, later, blocks[0].at}) t->free(p, t->mem_user_data);
}

// What the last user of a room left there is neither seen nor kept.
TEST(session_memory, the_core_of_a_used_room_is_zero) {
  for (int i = 0; i < 3; i++) {
    session_memory m;
    nghttp2_mem* t = m.table();
    auto* const p = static_cast<char*>(t->malloc(1024, t->mem_user_data));
    for (size_t k = 0; k < 1024; k++) ASSERT_EQ(p[k], 0);
    std::memset(p, 'x', 1024);
  }
}

}  // namespace
}  // namespace warren::http2

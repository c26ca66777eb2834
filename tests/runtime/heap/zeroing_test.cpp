// Memory from make is zero, and stays what the constructor leaves alone: g++ deletes an allocator's zeroing that it can see in front of a
// constructor.
#include <gtest/gtest.h>

#include <warren/gc.h>
#include <warren/go.h>
#include <warren/ptr.h>

namespace {

struct half {
  explicit half(int v) : set(v) {}
  int set;
  int left_alone;  // indeterminate to the compiler; the heap's zero to us
  WARREN_FIELDS(set, left_alone);
};

template <size_t N>
struct block {
  block() {}
  unsigned char bytes[N];
  WARREN_FIELDS(bytes);
};

template <size_t N>
void zero_after_reuse() {
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 2000; ++i) {
      warren::ptr<block<N>> p = warren::make<block<N>>();
      const volatile unsigned char* const b = p->bytes;
      for (size_t k = 0; k < N; ++k) ASSERT_EQ(b[k], 0) << N;
      __builtin_memset(p->bytes, 0xee, N);
    }
    warren::gc();
  }
}

TEST(Zeroing, FieldsThatNoConstructorSets) {
  warren::run([] {
    for (int round = 0; round < 3; ++round) {
      for (int i = 0; i < 5000; ++i) {
        warren::ptr<half> h = warren::make<half>(i);
        ASSERT_EQ(*const_cast<volatile int*>(&h->left_alone), 0);
        h->left_alone = -1;
      }
      warren::gc();
    }
  });
}

TEST(Zeroing, SlotsOfEverySmallShape) {
  warren::run([] {
    zero_after_reuse<1>();
    zero_after_reuse<8>();
    zero_after_reuse<15>();
    zero_after_reuse<16>();
    zero_after_reuse<24>();
    zero_after_reuse<40>();
    zero_after_reuse<112>();
    zero_after_reuse<128>();
    zero_after_reuse<136>();
    zero_after_reuse<2000>();
  });
}

}  // namespace

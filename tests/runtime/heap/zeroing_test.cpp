// Memory from make is zero, and stays what the constructor leaves alone: g++ deletes an allocator's zeroing that it can see in front of a
// constructor.
#include <gtest/gtest.h>

#include <array>

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

// Trivial types are not constructed again in memory that is zero, but for those whose default is not zero.
struct dated {
  int year;
  int day[3];
};
struct with_padding {
  char letter;
  int64_t number;
};
struct member_choice {
  int dated::*which;
};
static_assert(warren::detail::trivially_zero<dated>);
static_assert(warren::detail::trivially_zero<std::array<char, 1024>>);
static_assert(warren::detail::trivially_zero<double>);
static_assert(!warren::detail::trivially_zero<with_padding>);
static_assert(!warren::detail::trivially_zero<int dated::*>);
static_assert(!warren::detail::trivially_zero<member_choice>);
static_assert(!warren::detail::trivially_zero<block<8>>);

template <class T, class Is>
void default_after_reuse(Is is_default) {
  warren::run([&] {
    for (int round = 0; round < 3; ++round) {
      for (int i = 0; i < 2000; ++i) {
        warren::ptr<T> one = warren::make<T>();
        ASSERT_TRUE(is_default(*one));
        __builtin_memset(static_cast<void*>(one.get()), 0xee, sizeof(T));
        warren::array<T> some = warren::make_array<T>(3);
        for (T& t : some) {
          ASSERT_TRUE(is_default(t));
          __builtin_memset(static_cast<void*>(&t), 0xee, sizeof(T));
        }
      }
      warren::gc();
    }
  });
}

TEST(Zeroing, TrivialTypesBeginAsTheirDefault) {
  default_after_reuse<dated>([](const dated& d) { return d.year == 0 && d.day[0] == 0 && d.day[2] == 0; });
  default_after_reuse<std::array<char, 1024>>([](const std::array<char, 1024>& a) { return a[0] == 0 && a[1023] == 0; });
  default_after_reuse<with_padding>([](const with_padding& p) { return p.letter == 0 && p.number == 0; });
  default_after_reuse<member_choice>([](const member_choice& m) { return m.which == nullptr; });
}

}  // namespace

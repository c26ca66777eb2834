// Where the pointers of a type are, as the compiler finds it out, against where they are.
#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <chrono>
#include <string>
#include <vector>

#include <warren/ptr.h>

namespace {

using namespace warren;
using detail::described;
using detail::layout_kind;
using detail::map_of;

struct node {
  int key = 0;
  ptr<node> left, right;
};
class tree {
 public:
  virtual ~tree() = default;

 private:
  ptr<node> top_;
  int n_ = 0;
  ptr<tree> other_;
  WARREN_FIELDS(top_, n_, other_);
};
struct holds_string {
  std::string text;
  ptr<node> n;
  using collected = finalized;
};
struct wrappers {
  int a;
  std::optional<ptr<node>> b;
  std::variant<int, ptr<node>, double> c;
  std::atomic<int> d;
  std::optional<int> e;
};
struct arrays {
  ptr<node> a[3];
  int k;
  std::array<ptr<node>, 2> b;
  int z[4];
  ptr<int> last[1];
};
struct nested {
  node a;
  array<node> b;
  std::pair<int, ptr<node>> c;
  std::chrono::nanoseconds d;
  void (*f)(int);
  ptr<int[]> q;
};
struct wide {
  int k;
  ptr<node> a[100];
};
class no_default {
 public:
  explicit no_default(int) {}

 private:
  ptr<int> x_;
  int z_ = 0;
  WARREN_FIELDS(x_, z_);
};
struct holds_no_default {
  int a;
  no_default m;
  ptr<int> y;
};
struct base {
  ptr<int> a;
  int c = 0;
  WARREN_FIELDS(a, c);
};
class derived : public base {
  int b_ = 0;
  ptr<int> d_;
  WARREN_FIELDS_WITH_BASE(base, b_, d_);
};
class late_virtual : public base {
 public:
  virtual ~late_virtual() = default;

 private:
  ptr<int> e_;
  WARREN_FIELDS_WITH_BASE(base, e_);
};
struct plain_numbers {
  double x;
  char c[11];
  std::array<int, 5> a;
  enum class colour { red } e;
};
struct promise {
  node* raw;
  using collected = noscan;
};
struct opaque {
  void* words[5];
  using collected = ambiguous;
};
struct mixed {
  int a;
  opaque o;
  promise p;
  ptr<node> n;
};
struct grid {
  ptr<node> cell[2][3];
  char c;
};

// Every pointer-sized field of T is given its own address-like value through its proper type; the map must have exactly the words that hold
// one.
template <class T>
uint64_t bits() {
  return described<T>::bits.w[0];
}
template <class T, class... M>
uint64_t words_of(M T::*... members) {
  alignas(T) static std::byte place[sizeof(T)];
  auto* t = reinterpret_cast<T*>(place);
  return ((uint64_t{1} << (reinterpret_cast<std::byte*>(&(t->*members)) - place) / 8) | ...);
}

TEST(TypeMap, Aggregates) {
  EXPECT_EQ(bits<node>(), (words_of(&node::left, &node::right)));
  EXPECT_EQ(bits<nested>(), 0b1001001110u);
  EXPECT_EQ(bits<arrays>(), 0b100110111u) << "a[3], b[2], last";
  EXPECT_EQ(bits<wrappers>(), 0b11110u);
  EXPECT_EQ(bits<holds_string>(), words_of(&holds_string::n));
  EXPECT_EQ(bits<holds_no_default>(), 0b1010u);
  EXPECT_EQ(bits<mixed>(), words_of(&mixed::n) | 0b111110u);
  EXPECT_EQ(bits<grid>(), 0b111111u);
}

TEST(TypeMap, ListedFields) {
  EXPECT_EQ(bits<tree>(), 0b1010u) << "behind the vptr";
  EXPECT_EQ(bits<no_default>(), 1u);
  EXPECT_EQ(std::popcount(bits<derived>()), 2);
  EXPECT_EQ(bits<derived>() & 1, 1u);
  EXPECT_EQ(std::popcount(bits<late_virtual>()), 2);
  EXPECT_EQ(bits<late_virtual>() & 0b10, 0b10u) << "the base lies behind the vptr of the derived class";
}

TEST(TypeMap, LargeTypesUseSeveralWordsOfBits) {
  const auto& b = described<wide>::bits;
  for (size_t i = 0; i < described<wide>::words; ++i) EXPECT_EQ(b.get(i), i >= 1) << i;
  EXPECT_EQ(detail::descriptor_of<wide>.pointer_words, 101u);
}

TEST(TypeMap, KindsOfSpans) {
  EXPECT_EQ(detail::descriptor_of<plain_numbers>.kind, layout_kind::noscan);
  EXPECT_EQ(detail::descriptor_of<promise>.kind, layout_kind::noscan);
  EXPECT_EQ(detail::descriptor_of<int>.kind, layout_kind::noscan);
  EXPECT_EQ(detail::descriptor_of<node>.kind, layout_kind::precise);
  EXPECT_EQ(detail::descriptor_of<mixed>.kind, layout_kind::precise);
  EXPECT_EQ(detail::descriptor_of<ptr<node>>.kind, layout_kind::precise);
  EXPECT_EQ(detail::descriptor_of<opaque>.kind, layout_kind::ambiguous);
  EXPECT_EQ((detail::descriptor_of<std::variant<int, ptr<node>>>.kind), layout_kind::precise);
}

TEST(TypeMap, Descriptors) {
  const auto& d = detail::descriptor_of<holds_string>;
  EXPECT_EQ(d.size, sizeof(holds_string));
  EXPECT_EQ(d.align, alignof(holds_string));
  EXPECT_NE(d.destroy, nullptr);
  EXPECT_EQ(detail::descriptor_of<node>.destroy, nullptr);
  EXPECT_NE(std::string(d.name).find("holds_string"), std::string::npos);
  EXPECT_EQ(sizeof(ptr<node>), 8u);
  EXPECT_EQ(sizeof(array<node>), 16u);
  EXPECT_EQ(sizeof(root<node>), 8u);
}

TEST(TypeMap, OnlyForeignDestructorsCount) {
  EXPECT_FALSE(map_of<node>::destructor);
  EXPECT_FALSE(map_of<tree>::destructor) << "a virtual destructor that does nothing";
  EXPECT_FALSE(map_of<wrappers>::destructor);
  EXPECT_TRUE(map_of<holds_string>::destructor);
  EXPECT_TRUE(map_of<std::optional<std::string>>::destructor);
  EXPECT_TRUE(map_of<std::vector<int>>::destructor);
}

}  // namespace

// The Computer Language Benchmarks Game's binary trees, for bench_gc and its twins in C++ (bench/peers/trees), which differ in where a node
// comes from and in who frees it. Made gives:
//   node                     with members left and right
//   handle                   what holds a node
//   make(left, right)        a node; handles may be empty
//   at(handle or member)     the node's address, nullptr for none
//   drop(handle)             this tree is of no use any more
#pragma once
#include <cstdint>

namespace bench {

template <class Made>
struct trees {
  using handle = typename Made::handle;
  using node = typename Made::node;

  static handle bottom_up(int depth) {
    if (depth <= 0) return Made::make({}, {});
    handle l = bottom_up(depth - 1);
    handle r = bottom_up(depth - 1);
    return Made::make(l, r);
  }
  static int check(const node* t) {
    const node* const l = Made::at(t->left);
    return l == nullptr ? 1 : 1 + check(l) + check(Made::at(t->right));
  }
  // False: a tree lost nodes.
  static bool run(int depth) {
    constexpr int kLeast = 4;
    const auto is_whole = [](const handle& t, int depth) { return check(Made::at(t)) == (1 << (depth + 1)) - 1; };
    handle stretch = bottom_up(depth + 1);
    bool whole = is_whole(stretch, depth + 1);
    Made::drop(stretch);
    handle long_lived = bottom_up(depth);
    for (int d = kLeast; d <= depth; d += 2) {
      const int iterations = 1 << (depth - d + kLeast);
      int64_t sum = 0;
      for (int i = 0; i < iterations; i++) {
        handle t = bottom_up(d);
        sum += check(Made::at(t));
        Made::drop(t);
      }
      whole = whole && sum == int64_t{iterations} * ((1 << (d + 1)) - 1);
    }
    whole = whole && is_whole(long_lived, depth);
    Made::drop(long_lived);
    return whole;
  }
};

}  // namespace bench

// Binary trees on another memory manager; twin of bench_gc's binary_trees. Built with TREES_LIBGC (Boehm's collector, as it comes) or
// TREES_MIMALLOC (freed node by node).
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>

#include "bench/trees.h"

#if defined(TREES_LIBGC)
#include <gc.h>
#elif defined(TREES_MIMALLOC)
#include <mimalloc.h>
#endif

namespace {

struct tree {
  tree *left, *right;
};

struct raw {
  using node = tree;
  using handle = tree*;
  static tree* at(tree* t) { return t; }
  static tree* make(tree* l, tree* r) {
#if defined(TREES_LIBGC)
    auto* const t = static_cast<tree*>(GC_MALLOC(sizeof(tree)));
#else
    auto* const t = static_cast<tree*>(mi_malloc(sizeof(tree)));
#endif
    t->left = l;
    t->right = r;
    return t;
  }
#if defined(TREES_LIBGC)
  static void drop(tree*&) {}
#else
  static void drop(tree*& t) {
    if (t == nullptr) return;
    drop(t->left);
    drop(t->right);
    mi_free(t);
    t = nullptr;
  }
#endif
};

template <int Depth>
void binary_trees(benchmark::State& state) {
  for (auto _ : state) {
    if (!bench::trees<raw>::run(Depth)) {
      state.SkipWithError("a tree lost nodes");
      break;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
#if defined(TREES_LIBGC)
  GC_INIT();
#endif
  benchmark::RegisterBenchmark("binary_trees/16", binary_trees<16>)->UseRealTime()->MeasureProcessCPUTime();
  benchmark::RegisterBenchmark("binary_trees/21", binary_trees<21>)->UseRealTime()->MeasureProcessCPUTime();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}

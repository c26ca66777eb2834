// A world for the collector without a scheduler: one mcache, stacks that are arrays of words, a clock that ticks once per look.
#pragma once
#include <cstdlib>
#include <functional>
#include <string_view>
#include <vector>

#include "runtime/gc/collector.h"
#include "runtime/heap/allocate.h"

namespace warren::rt::testing {

// CTest runs these tests for all ways to mark.
inline bool scan_by_page() {
  const char* const mark = std::getenv("WARREN_GCMARK");
  return mark != nullptr && std::string_view(mark) == "pages";
}
inline page_kernel kernel() {
  page_kernel k = has_kernel(page_kernel::avx512) ? page_kernel::avx512 : page_kernel::portable;
  if (const char* const name = std::getenv("WARREN_GCKERNEL")) parse_page_kernel(name, &k);
  return k;
}

class fake_world : public world {
 public:
  explicit fake_world(mheap& h) : cache(h.new_mcache()), heap_(h) {}
  ~fake_world() override { heap_.delete_mcache(cache); }

  void stop(const char*) override { stopped = true, ++stops; }
  void start() override { stopped = false; }
  void on_system_stack(void (*fn)(void*), void* arg) override { fn(arg); }
  void for_each_stack(stack_visitor visit, void* ctx) override {
    ASSERT_STOPPED();
    if (before_scan) before_scan();
    for (const auto& s : stacks) visit(ctx, s.data(), s.data() + s.size(), true);
  }
  void for_each_mcache(void (*visit)(void*, mcache*), void* ctx) override {
    ASSERT_STOPPED();
    visit(ctx, cache);
  }
  void give_way() override {
    if (stopped) abort();
    ++gave_way;
  }
  int64_t nanotime() override { return now += 10; }

  mcache* cache;
  std::vector<std::vector<uintptr_t>> stacks{std::vector<uintptr_t>(64)};
  std::function<void()> before_scan;  // of all stacks
  bool stopped = false;
  int stops = 0;
  int gave_way = 0;
  int64_t now = 0;

 private:
  void ASSERT_STOPPED() const {
    if (!stopped) abort();
  }
  mheap& heap_;
};

}  // namespace warren::rt::testing

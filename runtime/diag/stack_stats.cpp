#include <cstdio>
#include <memory>

#include "runtime/diag/symbols.h"
#include "runtime/sched/scheduler.h"
#include "warren/stats.h"

namespace warren {

std::vector<stack_use> read_stack_use() {
  std::vector<stack_use> out;
  {
    const rt::scheduler::guest s;
    if (!s) return out;
    s->scavenger().use().for_each([&](const void* pc, const rt::stack_use_table::site& site) {
      stack_use u;
      u.site = pc;
      u.samples = site.samples.load(std::memory_order_relaxed);
      u.deepest = site.deepest.load(std::memory_order_relaxed);
      u.mean = site.sum.load(std::memory_order_relaxed) / u.samples;
      u.limit = site.limit.load(std::memory_order_relaxed);
      out.push_back(std::move(u));
    });
  }
  // 100 KiB, most of it the cache: not on a goroutine's stack.
  const auto symbols = std::make_unique<rt::symbolizer>();
  for (stack_use& u : out) {
    if (u.site == nullptr) {
      u.function = "others";
      continue;
    }
    char name[512];
    // Inside the call: the return address may be the next function's first.
    const rt::code_place place = symbols->find(static_cast<const std::byte*>(u.site) - 1);
    u.function = rt::function_name(place, name, sizeof name, true);
    snprintf(name, sizeof name, "+0x%zx", place.function == nullptr ? static_cast<size_t>(place.module_address) : place.offset + 1);
    u.function += name;
  }
  return out;
}

}  // namespace warren

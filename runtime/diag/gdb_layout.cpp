#include "runtime/diag/gdb_layout.h"

#include <cstring>

#include "runtime/sched/scheduler.h"

// g and m are no standard-layout classes, but have no virtual bases, which is what offsetof needs.
#pragma GCC diagnostic ignored "-Winvalid-offsetof"

namespace warren::rt {

// The one friend that may see what is private.
struct gdb_access {
  static constexpr size_t all_g = offsetof(goroutine_pool, all_g_);
  static constexpr size_t g_count = offsetof(goroutine_pool, g_count_);
  static constexpr size_t pool = offsetof(scheduler, pool_);
  static uint64_t running() noexcept { return reinterpret_cast<uint64_t>(&scheduler::running_); }
};

const gdb_entry warren_gdb_layout[] = {
    {"running", gdb_access::running()},
    {"scheduler.pool", gdb_access::pool},
    {"pool.all_g", gdb_access::all_g},
    {"pool.g_count", gdb_access::g_count},
    {"g.status", offsetof(g, status)},
    {"g.reason", offsetof(g, reason)},
    {"g.goid", offsetof(g, goid)},
    {"g.sp", offsetof(g, stack_state) + offsetof(fiber, ctx)},
    {"g.slot", offsetof(g, slot)},
    {"g.spawn_pc", offsetof(g, spawn_pc)},
    {"g.spawn_goid", offsetof(g, spawn_goid)},
    {"switch.red_zone", WARREN_SWITCH_ANNOTATED ? 0 : kJumpRedZone},
    {"", 0},
};

char warren_gdb_wait_reasons[32][24];

namespace {
const bool filled = [] {
  for (int i = 0; i < 32; ++i) strncpy(warren_gdb_wait_reasons[i], to_string(static_cast<wait_reason>(i)), 23);
  return true;
}();
}  // namespace

}  // namespace warren::rt

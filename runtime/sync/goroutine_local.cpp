// goroutine_local: a table per goroutine, on the collected heap, made by the first value.
//
// The g holds the table's address; the collector visits that word together with the stack (sched/stop.cpp). Only the goroutine itself
// touches its table. A goroutine that never had a value pays one test at its end.
#include "warren/goroutine_local.h"

#include <algorithm>
#include <atomic>

#include "runtime/os/fatal.h"
#include "runtime/sched/g.h"
#include "runtime/sched/hooks.h"
#include "runtime/sched/park.h"

namespace warren::detail {

namespace {

struct local_slot {
  ptr<void> value;
  void (*destroy)(void*) = nullptr;
  uint32_t older = 0;  // the id whose value was made before this; 0: none
};

struct local_table {
  array<local_slot> slots;  // index: id
  uint32_t newest = 0;      // id
};

rt::g& must_be_goroutine() {
  rt::g* const gp = rt::getg();
  if (gp == nullptr) rt::fatal("a goroutine_local on a thread that runs no goroutine: use thread_local there, or do it in a goroutine");
  return *gp;
}

local_table* table_of(const rt::g& gp) noexcept { return static_cast<local_table*>(gp.locals); }

ptr<void> take(local_table& t, uint32_t id) noexcept {
  local_slot& slot = t.slots[id];
  const ptr<void> value = slot.value;
  if (value == nullptr) return nullptr;
  uint32_t* link = &t.newest;
  while (*link != id) link = &t.slots[*link].older;
  *link = slot.older;
  slot.value = nullptr;
  return value;
}

// The newest first. A destructor may use another value, and so make one: that is then the newest.
void end_all() {
  rt::g& gp = must_be_goroutine();
  while (table_of(gp)->newest != 0) {
    local_table& t = *table_of(gp);
    void (*const destroy)(void*) = t.slots[t.newest].destroy;
    const ptr<void> value = take(t, t.newest);
    destroy(value.get());
  }
  gp.locals = nullptr;
}

const bool hook_set = [] {
  rt::sched_hooks.end_locals = &end_all;
  return true;
}();

}  // namespace

uint32_t new_local_id() {
  static constinit std::atomic<uint32_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

void* find_local(uint32_t id) {
  const local_table* t = table_of(must_be_goroutine());
  return t == nullptr || id >= t->slots.size() ? nullptr : t->slots[id].value.get();
}

void set_local(uint32_t id, const ptr<void>& value, void (*destroy)(void*)) {
  rt::g& gp = must_be_goroutine();
  if (gp.locals == nullptr) gp.locals = make<local_table>().get();
  local_table& t = *table_of(gp);
  if (id >= t.slots.size()) {
    const array<local_slot> larger = make_array<local_slot>(std::max<size_t>(id + 1, 2 * t.slots.size()));
    std::copy(t.slots.begin(), t.slots.end(), larger.begin());
    t.slots = larger;
  }
  local_slot& slot = t.slots[id];
  if (slot.value != nullptr)
    rt::fatal("goroutine %llu: a goroutine_local was set again while its value was being made or destroyed; its type must not use it there",
              static_cast<unsigned long long>(goroutine_id()));
  slot.value = value;
  slot.destroy = destroy;
  slot.older = t.newest;
  t.newest = id;
}

ptr<void> take_local(uint32_t id) noexcept {
  local_table* t = table_of(must_be_goroutine());
  return t == nullptr || id >= t->slots.size() ? nullptr : take(*t, id);
}

}  // namespace warren::detail

// The small helpers of park.h that touch the program's own data: instrumented, like the program.
#include "runtime/os/mutex.h"
#include "runtime/sched/g.h"
#include "runtime/sched/park.h"

namespace warren::rt {

bool park_unlock(g*, void* runtime_mutex) noexcept {
  static_cast<mutex*>(runtime_mutex)->unlock();
  return true;
}

// A hint; what the lock does must be right whatever it says.
bool spinning_pays() noexcept { return true; }

void g_list::push(g* gp) noexcept {
  gp->next = head;
  head = gp;
  ++size;
}

g* g_list::pop() noexcept {
  g* gp = head;
  if (gp != nullptr) {
    head = static_cast<g*>(gp->next);
    gp->next = nullptr;
    --size;
  }
  return gp;
}

}  // namespace warren::rt

// What runtime/os leaves to the scheduler, for tests without one: there is nobody who would stop a thread.
#include "runtime/os/critical.h"

namespace warren::rt {

uint32_t enter_critical() noexcept { return 0; }
void leave_critical(uint32_t) noexcept {}

}  // namespace warren::rt

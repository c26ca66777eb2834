#include "runtime/os/membarrier.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace warren::rt {

namespace {
bool call(int command) noexcept { return syscall(SYS_membarrier, command, 0) == 0; }
}  // namespace

bool fence_all_threads() noexcept {
  // Registered once per process; the kernel refuses the command before.
  static const bool registered = call(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
  return registered && call(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}

}  // namespace warren::rt

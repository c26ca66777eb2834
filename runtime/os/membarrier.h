// A full fence in every running thread of the process, issued by one of them: the slow side of asymmetric synchronization.
#pragma once

namespace warren::rt {

// Does the kernel have it (MEMBARRIER_CMD_PRIVATE_EXPEDITED, Linux 4.14; some sandboxes refuse it)? Set by static initialization, which
// also registers the process; constant afterwards.
extern const bool has_membarrier;

// REQUIRES: has_membarrier. On return every thread of the process that ran has passed a full memory fence since the call, and the caller
// has, too. Costs the caller about 0.6 µs, more with many processors. Any thread; async-signal-safe.
void membarrier() noexcept;

}  // namespace warren::rt

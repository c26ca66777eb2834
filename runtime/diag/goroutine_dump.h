// Every goroutine, in the format of Go's dumps.
#pragma once

namespace warren::rt {

class scheduler;

// Prints all goroutines to standard error:
//   goroutine 7 [chan receive]:
//   	0x55d0… /path/program(+0x1234)
// Allocates nothing and takes no lock. Goroutines that run while it prints are listed without frames; the others must not run (deadlock,
// world stopped) for their frames to be right.
void dump_goroutines(scheduler& s) noexcept;

}  // namespace warren::rt

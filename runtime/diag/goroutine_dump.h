// Every goroutine, in the format of Go's dumps:
//
//   goroutine 7 [chan receive, 2 minutes]:
//   serve::handle(...)
//   	/path/program:0x1b2f3 +0x2a
//   created by serve::listen in goroutine 1
//   	/path/program:0x1a001 +0x1d4
//
// Where Go prints file and line stand the program (or library) and the address in it, as addr2line and gdb take it: reading line tables is
// their work. The scheduler's own frames at both ends are left out. Minutes are counted from when the scavenger first saw the wait.
#pragma once

namespace warren::rt {

class scheduler;

enum class dump_state {
  quiescent,  // no goroutine can run: a deadlock
  running,    // goroutines are held still one handful at a time (sched/stack_claim.h); those that run are listed without frames
};

// Prints all goroutines to standard error. Not from a goroutine or a signal handler. Takes no lock that goroutines hold while they run, but
// for malloc's, which demangling names needs.
void dump_goroutines(scheduler& s, dump_state state) noexcept;

}  // namespace warren::rt

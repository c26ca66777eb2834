// What the scheduler tells the operator on standard error: goroutines that hold on to their thread.
//
// One line each, with the figures and the remedy; frames below it where they are known. WARREN_REPORT=0 silences all, 1 (the default)
// reports undeclared blocking once per spawn site and hogs when there are too many, 2 reports every event.
#pragma once
#include <cstdint>

#include "runtime/sched/stack_sample.h"

namespace warren::rt {

// Called by sysmon's thread: may allocate and write. call: the system call's number, -1 if unknown. age: ns since the time slice began.
void report_blocked(uint64_t goid, const void* spawn_pc, long call, int64_t age);
void report_hog(const stack_sample& s, int64_t age);
void report_too_many_hogs(const stack_sample& s, int64_t age, uint32_t limit);

}  // namespace warren::rt

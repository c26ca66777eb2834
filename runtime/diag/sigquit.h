// SIGQUIT (Ctrl-\, kill -QUIT) prints every goroutine and ends the process with status 2, as it does a Go program.
//
// The handler only notes the signal and wakes sysmon, which prints: on a thread of its own that holds no lock, and that runs whatever the
// goroutines do. A program that has set a handler, ignores the signal or waits for it through a blocked mask keeps its way.
#pragma once

namespace warren::rt {

class scheduler;

// wake: called in the signal handler, on any thread: makes sysmon look.
void install_quit_handler(void (*wake)()) noexcept;
void remove_quit_handler() noexcept;

bool quit_requested() noexcept;
[[noreturn]] void dump_and_quit(scheduler& s) noexcept;

}  // namespace warren::rt

// The preemption signal (the essay is in preempt.cpp).
#pragma once

namespace warren::rt {

struct m;

// Chooses the signal (WARREN_PREEMPT_SIGNAL, else the first real-time signal from SIGRTMIN+6 on that nobody handles) and installs the
// handler. Once per process; it stays installed: a signal still under way when a run ends must not find the default action, which is to
// end the process. Dies with one line when there is none.
void install_preempt_signal();

// Lets the calling thread receive it, whatever mask it inherited.
void unblock_preempt_signal();

// Sends it to mp's thread. Never waits. REQUIRES: the thread exists.
void send_preempt_signal(const m* mp) noexcept;

// How many signals were sent in this process.
unsigned long long preempt_signals_sent() noexcept;

}  // namespace warren::rt

// Which signals may be waited for, and what is said about the others.
#pragma once
#include <signal.h>

#include <initializer_list>

namespace warren::rt {

#ifdef _NSIG
inline constexpr int kSignals = _NSIG;
#else
inline constexpr int kSignals = NSIG;
#endif

// Throws net_error: "OPERATION SIGNAME: why".
[[noreturn]] void refuse_signal(const char* operation, int signal, const char* why);
// Throws for an empty list, for what is no signal, and for signals that cannot be waited for.
sigset_t check_signals(const char* operation, std::initializer_list<int> signals);

}  // namespace warren::rt

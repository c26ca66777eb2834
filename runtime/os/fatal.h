// How the runtime dies: one line that names cause, value and remedy, then abort.
#pragma once
#include <cstdarg>

namespace warren::rt {

// Prints "fatal error: " and the formatted line to standard error, then aborts.
// Formats into a buffer on the stack and writes it with one write(2): takes no lock and allocates nothing, so it may be called
// with locks held, from a goroutine, from g0, from a foreign thread or from a signal handler.
[[noreturn, gnu::format(printf, 1, 2)]] void fatal(const char* format, ...) noexcept;

// Prints the formatted text as it is to standard error, with the same guarantees. Text beyond 1023 bytes is cut.
[[gnu::format(printf, 1, 2)]] void print_error(const char* format, ...) noexcept;

}  // namespace warren::rt

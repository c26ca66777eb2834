#include "runtime/os/fatal.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/os/tiny.h"

namespace warren::rt {

namespace {
void write_all(const char* p, size_t n) noexcept {
  while (n > 0) {
    const ssize_t w = ::write(STDERR_FILENO, p, n);
    if (w <= 0) return;  // nowhere left to report to
    p += w;
    n -= static_cast<size_t>(w);
  }
}

size_t clip(int formatted, size_t capacity) noexcept {
  if (formatted < 0) return 0;
  return static_cast<size_t>(formatted) < capacity ? static_cast<size_t>(formatted) : capacity - 1;
}
}  // namespace

void print_error(const char* format, ...) noexcept {
  char line[1024];
  va_list args;
  va_start(args, format);
  const int n = vsnprintf(line, sizeof line, format, args);
  va_end(args);
  write_all(line, clip(n, sizeof line));
}

void fatal(const char* format, ...) noexcept {
  char line[1024];
  va_list args;
  va_start(args, format);
  const int n = vsnprintf(line, sizeof line, format, args);
  va_end(args);
#ifdef WARREN_TINY
  print_error("warren: tiny build, WARREN_SEED=%u\n", tiny_seed(0));
#endif
  char out[1100];
  const int m = snprintf(out, sizeof out, "fatal error: %.*s\n", static_cast<int>(clip(n, sizeof line)), line);
  write_all(out, clip(m, sizeof out));
  abort();
}

}  // namespace warren::rt

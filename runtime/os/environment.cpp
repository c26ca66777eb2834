#include "runtime/os/environment.h"

#include <errno.h>
#include <stdlib.h>

#include "runtime/os/fatal.h"

namespace warren::rt {

int64_t environment_number(const char* name, int64_t least, int64_t most, int64_t otherwise) {
  const char* text = getenv(name);
  if (text == nullptr || *text == '\0') return otherwise;
  char* end;
  errno = 0;
  const long long n = strtoll(text, &end, 10);
  if (errno != 0 || *end != '\0' || n < least || n > most)
    fatal("%s=%s: want a number from %lld to %lld; correct it or unset it", name, text, static_cast<long long>(least),
          static_cast<long long>(most));
  return n;
}

}  // namespace warren::rt

// One system call and its errno. For the sys….cpp files only: sys.h says why errno is read nowhere else.
#pragma once
#include <errno.h>

#include "netpoll/sys.h"

namespace warren::rt::sys {

// Inlined into functions that cannot park: errno is the calling thread's.
template <class Call>
inline result once(Call call) noexcept {
  const auto r = call();
  if (r >= 0) return result{static_cast<ssize_t>(r), 0};
  return result{-1, errno};
}

template <class Call>
inline result retry(Call call) noexcept {
  for (;;) {
    const result r = once(call);
    if (r.error != EINTR) return r;
  }
}

}  // namespace warren::rt::sys

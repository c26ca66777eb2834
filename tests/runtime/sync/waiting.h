// What the tests of this folder need to arrange who waits where, without sleeping.
#pragma once
#include <cstddef>
#include <mutex>

#include "runtime/sync/hchan.h"
#include "warren/chan.h"
#include "warren/go.h"

namespace warren::testing {

// Lets the others run until the condition holds.
template <class F>
void until(F&& holds) {
  while (!holds()) yield();
}

// Numbers of goroutines that wait in c. (A sudog is in the queue before its goroutine has quite parked; its commit holds the lock until
// then.)
inline size_t receivers(detail::hchan* c) {
  std::lock_guard hold(c->lock);
  return c->recvq.length();
}
inline size_t senders(detail::hchan* c) {
  std::lock_guard hold(c->lock);
  return c->sendq.length();
}
template <class T>
void until_receivers(const chan<T>& c, size_t n) {
  until([&] { return receivers(c.raw()) == n; });
}
template <class T>
void until_senders(const chan<T>& c, size_t n) {
  until([&] { return senders(c.raw()) == n; });
}

}  // namespace warren::testing

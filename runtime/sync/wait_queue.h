// A list of goroutines that wait for a mutex or a wait_group, with the lock that protects it.
#pragma once
#include <cstdint>
#include <new>

#include "runtime/os/mutex.h"
#include "runtime/sched/park.h"
#include "warren/sync.h"

namespace warren::detail {

// On the waiter's stack. Taken out of the queue it belongs to the taker until the goready.
struct waiter {
  rt::g* gp;
  waiter* next = nullptr;
  int64_t since = 0;   // nanotime when it began to wait (mutex)
  bool owner = false;  // it was handed what it waited for (mutex)
};

// All of it under `lock`. All bits zero is an empty queue, so that a zeroed wait_queue_storage is one.
struct wait_queue {
  rt::mutex lock;
  waiter* first = nullptr;
  waiter* last = nullptr;

  bool empty() const noexcept { return first == nullptr; }
  void push_back(waiter* w) noexcept {
    w->next = nullptr;
    (last == nullptr ? first : last->next) = w;
    last = w;
  }
  void push_front(waiter* w) noexcept {
    w->next = first;
    first = w;
    if (last == nullptr) last = w;
  }
  waiter* pop_front() noexcept {
    waiter* w = first;
    first = w->next;
    if (first == nullptr) last = nullptr;
    return w;
  }
};

static_assert(sizeof(wait_queue) <= sizeof(wait_queue_storage));
inline wait_queue& queue_in(wait_queue_storage& s) noexcept { return *std::launder(reinterpret_cast<wait_queue*>(s.bytes)); }

}  // namespace warren::detail

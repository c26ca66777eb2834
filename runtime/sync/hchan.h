// hchan: a channel.
//
// Invariants, with the lock held and no select among the waiters (a select that both sends and receives on one channel waits in both
// queues):
//   I1  at least one of sendq and recvq is empty
//   I2  qcount > 0 implies that recvq is empty
//   I3  qcount < dataqsiz implies that sendq is empty
//   I4  closed implies that both are empty: closing takes every waiter out, and nobody waits in a closed channel
#pragma once
#include <atomic>
#include <cstddef>

#include "runtime/sched/biased_lock.h"
#include "runtime/sync/chan_lock.h"
#include "runtime/sync/sudog.h"
#include "warren/chan.h"
#include "warren/detail/barrier.h"
#include "warren/ptr.h"

namespace warren::detail {

// Moves a value. What an element holds need not be a ptr (a lambda with a T* in it), and where it goes may have been scanned already, the
// buffer or another's stack: a collection that marks must see its words (gc.md §3.3, rule 6).
inline void hand_over(const elem_type& type, void* to, void* from) noexcept {
  move_construct(type, to, from);
  if (type.slot->kind != layout_kind::noscan) barrier_words(to, type.size);
}

struct hchan {
  hchan(const elem_type& t, std::byte* buffer, size_t capacity) noexcept : type(&t), buf(buffer), dataqsiz(capacity) {}
  // A channel ends by being collected, not by being destroyed.
  hchan(const hchan&) = delete;

  // Protects everything below and the sudogs in the queues. No user code runs under it, with one exception: the move constructor of the
  // element of a buffered channel.
  rt::biased<chan_lock> lock;
  std::atomic<bool> closed{false};  // written under the lock; read without it by the peeks
  const elem_type* const type;
  const ptr<std::byte> buf;  // dataqsiz slots: an object of their own, or behind this one (makechan)
  const size_t dataqsiz;
  std::atomic<size_t> qcount{0};  // slots [recvx, recvx + qcount) modulo dataqsiz hold values. Written under the lock
  size_t sendx = 0;
  size_t recvx = 0;
  waitq recvq;
  waitq sendq;

  std::byte* slot(size_t i) noexcept { return buf.get() + i * type->size; }
  size_t count() const noexcept { return qcount.load(std::memory_order_relaxed); }

  // Could a send (a receive) proceed? Without the lock. A yes may be out of date, the operation finds out under the lock; a no was true
  // at a moment within the call. The order of the two loads matters: see "Peeking" in chan.cpp.
  bool peek_send() const noexcept {
    const bool room = dataqsiz == 0 ? recvq.peek() : qcount.load(std::memory_order_acquire) < dataqsiz;
    return room || closed.load(std::memory_order_relaxed);
  }
  bool peek_recv() const noexcept {
    const bool something = dataqsiz == 0 ? sendq.peek() : qcount.load(std::memory_order_acquire) > 0;
    return something || closed.load(std::memory_order_relaxed);
  }

  // The buffer's two ends. REQUIRES: lock held; room, or something in it.
  void push(void* elem) noexcept {
    hand_over(*type, slot(sendx), elem);
    pushed();
  }
  void pop(void* elem) noexcept {
    std::byte* const s = slot(recvx);
    move_construct(*type, elem, s);
    if (type->destroy != nullptr) type->destroy(s);
    if (type->slot->kind != layout_kind::noscan) {
      clear(s);
      barrier_words(elem, type->size);  // what has left the heap; after the store, as everywhere
    }
    popped();
  }
  // The same for elements whose moves_as_words() is true.
  bool moves_as_words() const noexcept { return type->kind < elem_kind::bytes && type->slot->kind == layout_kind::noscan; }
  void push_words(void* elem) noexcept {
    move_words(slot(sendx), elem);
    pushed();
  }
  void pop_words(void* elem) noexcept {
    move_words(elem, slot(recvx));
    popped();
  }

 private:
  void move_words(void* to, void* from) noexcept {
    if (type->kind >= elem_kind::bytes) __builtin_unreachable();  // so that the compiler sees no call
    move_construct(*type, to, from);
  }
  void pushed() noexcept {
    if (++sendx == dataqsiz) sendx = 0;
    qcount.store(count() + 1, std::memory_order_relaxed);
  }
  void popped() noexcept {
    if (++recvx == dataqsiz) recvx = 0;
    qcount.store(count() - 1, std::memory_order_relaxed);
  }
  // An emptied slot must not keep what its value pointed to. (Its barrier has seen the ptr go: that was destroy.) Word by word, as a
  // collector may look.
  void clear(std::byte* s) noexcept {
    for (size_t i = 0; i < type->size / sizeof(void*); ++i) __atomic_store_n(reinterpret_cast<uintptr_t*>(s) + i, 0, __ATOMIC_RELAXED);
  }
};

// What a receiver does once it has found a waiting sender. REQUIRES: c->lock held, sg just dequeued from c->sendq. For a buffered channel
// the value is the oldest one in the buffer and the sender's takes the place that becomes free; for an unbuffered one the caller moves it
// over after unlocking (hand_over), so that no user code runs under the lock.
inline void refill_from_sender(hchan* c, sudog* sg, void* elem) noexcept {
  c->pop(elem);
  c->push(sg->elem);
}

// Elements that carry addresses of stacks flag both sides (sched/stack_scan.h). Only elements whose words may be anything can; called on
// the goroutine that sends, before, and for the goroutine that has received, after.
void note_sent(const elem_type& type, const void* elem) noexcept;
void note_received(const elem_type& type, rt::g* by, const void* elem) noexcept;

// Hand-offs from stack to stack; the sudog was taken out of its queue.
inline void hand_to_receiver(const elem_type& type, sudog* receiver, void* elem) noexcept {
  hand_over(type, receiver->elem, elem);
  if (type.slot->kind == layout_kind::ambiguous) note_received(type, receiver->gp, receiver->elem);
}
inline void take_from_sender(const elem_type& type, void* elem, sudog* sender) noexcept { hand_over(type, elem, sender->elem); }

// The end of a hand-off: wakes the goroutine of sg, which was taken out of its queue and holds nothing any more but its stack.
inline void wake(sudog* sg, bool success) noexcept {
  sg->success = success;
  rt::goready(sg->gp);  // sg may be gone from here on
}

// No goroutine (message names `what`) is fatal: a thread without one cannot park.
rt::g* must_getg(const char* what) noexcept;
// Parks for ever.
[[noreturn]] void block(rt::wait_reason why);
[[noreturn]] void send_on_closed(const hchan* c) noexcept;

}  // namespace warren::detail

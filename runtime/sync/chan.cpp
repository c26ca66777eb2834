// Channels: send, receive, close.
//
// Hand-off. A sender that finds a waiting receiver does not go through a buffer: it moves the value from its own stack straight to the
// receiver's and makes the receiver runnable (and the other way round). The steps are: lock, take the sudog out of the queue, unlock,
// move the value, goready. The move comes after the unlock on purpose. A sudog that was taken out belongs to the taker and its goroutine
// sleeps until the goready, so nobody else can look at either slot; and the element's move constructor is user code, which must not run
// under a lock of the runtime. (Go moves under the lock: there a move is a memmove.) For the buffer's slots this does not work, they are
// shared: there the move constructor does run under the lock, and the public header says what it must not do.
//
// Parking. A goroutine that must wait puts a sudog from its stack into the queue and parks; the lock is released by the park's commit,
// when the goroutine's registers are saved. So whoever finds the sudog under the lock may ready its goroutine at once.
//
// Peeking. The non-blocking operations look before they lock, so that polling an idle channel writes no shared cache line. Two separate
// loads are not one snapshot, but "would wait" is true of a moment within the call: first comes "empty" (full, nobody there), then "not
// closed". Channels do not re-open, so at the moment of the first load the channel was open, too. The other order would be wrong: open;
// then the channel is closed, which takes out those who wait; then nobody there: it never was both. Hence the first load is an acquire.
// These loads decide only whether to lock; values are read under the lock.
//
// Rejected: a lock-free ring for buffered channels (select needs to hold several channels still at once, and close must see all waiters;
// what a mutex costs too much is the unlock, see chan_lock.h); a spin lock (a holder can be descheduled by the kernel); sudogs from a
// pool as in Go (Go needs them off-stack because its stacks move).
#include <cstddef>
#include <new>
#include <type_traits>

#include "runtime/os/fatal.h"
#include "runtime/sched/fork.h"
#include "runtime/sched/in_rt.h"
#include "runtime/sched/park.h"
#include "runtime/sync/hchan.h"
#include "runtime/sync/test_point.h"
#include "warren/go.h"

namespace warren::detail {

rt::g* must_getg(const char* what) noexcept {
  rt::g* gp = rt::getg();
  if (gp == nullptr) {
    rt::check_not_forked();
    rt::fatal("%s would have to wait, but this thread runs no goroutine: use the try_ form here, or do it in a goroutine", what);
  }
  return gp;
}

void block(rt::wait_reason why) {
  must_getg("an operation on a nil channel, or a select without cases,");
  for (;;) rt::gopark(nullptr, nullptr, why);
}

void send_on_closed(const hchan* c) noexcept {
  rt::fatal("goroutine %llu: send on closed channel %p: close a channel only after its last send (several senders: after their wait_group)",
            static_cast<unsigned long long>(goroutine_id()), static_cast<const void*>(c));
}

// Where a channel lies. Nothing but its buffer is worth scanning: the queues lead to stacks, which are scanned anyway.
//   - no buffer: an object that is not scanned
//   - values without pointers: header and buffer in one object that is not scanned
//   - other values: the buffer is an array of its own, scanned as the slots say, and the header points to it
//   - values that must be destroyed: likewise, and the header has a finalizer
namespace {
static_assert(std::is_standard_layout_v<hchan>, "offsetof below");
constexpr uint64_t kBufWord[] = {uint64_t{1} << (offsetof(hchan, buf) / sizeof(void*))};
constexpr uint32_t kPointerWords = offsetof(hchan, buf) / sizeof(void*) + 1;

void destroy_leftovers(void* p) {
  auto* c = static_cast<hchan*>(p);
  for (size_t i = 0, n = c->count(); i < n; ++i) c->type->destroy(c->slot((c->recvx + i) % c->dataqsiz));
}

constexpr type_descriptor kHeader{sizeof(hchan), alignof(hchan), layout_kind::noscan, 0, nullptr, nullptr, "channel"};
constexpr type_descriptor kWithBuffer{sizeof(hchan), alignof(hchan), layout_kind::precise, kPointerWords, kBufWord, nullptr, "channel"};
constexpr type_descriptor kFinalized{sizeof(hchan),      alignof(hchan), layout_kind::precise, kPointerWords, kBufWord,
                                     &destroy_leftovers, "channel"};
constexpr size_t kBlockAlign = 16;
constexpr type_descriptor kBlock{kBlockAlign, kBlockAlign, layout_kind::noscan, 0, nullptr, nullptr, "channel with its buffer"};
constexpr size_t kInlineBuffer = (sizeof(hchan) + kBlockAlign - 1) / kBlockAlign * kBlockAlign;  // where the buffer begins in a block
}  // namespace

ptr<hchan> makechan(const elem_type& type, size_t capacity) {
  // Half of the largest heap there is: sums below cannot overflow.
  constexpr size_t kMostBytes = size_t{1} << 38;
  if (capacity > kMostBytes / type.size) throw std::bad_array_new_length();

  if (capacity == 0) return ptr<hchan>(::new (new_object(kHeader)) hchan(type, nullptr, 0));
  if (type.slot->kind == layout_kind::noscan && !type.finalize && type.align <= kBlockAlign) {
    const size_t bytes = kInlineBuffer + capacity * type.size;
    auto* block = static_cast<std::byte*>(new_array(kBlock, (bytes + kBlockAlign - 1) / kBlockAlign));
    return ptr<hchan>(::new (block) hchan(type, block + kInlineBuffer, capacity));
  }
  // On this stack a bare pointer keeps the buffer.
  auto* buffer = static_cast<std::byte*>(new_array(*type.slot, capacity));
  const type_descriptor& header = type.finalize ? kFinalized : kWithBuffer;
  auto* c = ::new (new_object(header)) hchan(type, buffer, capacity);
  if (type.finalize) register_finalizer(c, header);
  return ptr<hchan>(c);
}

namespace {
// A gopark commit.
bool unlock_channel(rt::g*, void* c) noexcept {
  static_cast<hchan*>(c)->lock.unlock();
  return true;
}
}  // namespace

// The frequent case of a buffered channel: it is used on one P (the lock is biased), nobody waits for what is done, and the elements are
// words that neither the collector nor a constructor cares for. Apart from the rest, because it calls nothing and so keeps no registers:
// a value through the buffer takes 10.9 ns so, 15.2 by way of the rest.
namespace {
[[gnu::always_inline]] inline bool push_at_once(hchan* c, void* elem) noexcept {
  if (!c->moves_as_words() || !c->lock.try_lock_by_bias()) return false;
  const bool can = !c->closed.load(std::memory_order_relaxed) && !c->recvq.peek() && c->count() < c->dataqsiz;
  if (can) c->push_words(elem);
  c->lock.unlock_by_bias();
  return can;
}

[[gnu::always_inline]] inline bool pop_at_once(hchan* c, void* elem) noexcept {
  if (!c->moves_as_words() || !c->lock.try_lock_by_bias()) return false;
  const bool can = c->count() > 0 && !c->sendq.peek();
  if (can) c->pop_words(elem);
  c->lock.unlock_by_bias();
  return can;
}

bool send(hchan* c, void* elem, bool may_park);
recv_result receive(hchan* c, void* elem, bool may_park);
recv_result receive_and_note(hchan* c, void* elem, bool may_park);
}  // namespace

// Safepoints: on every way out that did not park, for a goroutine may live on those alone. Not with the lock held, and not between the
// hand-over and the goready.
bool chansend(hchan* c, void* elem, bool may_park) {
  if (c != nullptr && c->dataqsiz != 0 && push_at_once(c, elem)) {
    rt::safepoint();
    return true;
  }
  return send(c, elem, may_park);
}

recv_result chanrecv(hchan* c, void* elem, bool may_park) {
  if (c != nullptr && c->dataqsiz != 0 && pop_at_once(c, elem)) {
    rt::safepoint();
    return recv_result::value;
  }
  return receive_and_note(c, elem, may_park);
}

namespace {
[[gnu::noinline]] bool send(hchan* c, void* elem, bool may_park) {
  if (c == nullptr) {
    if (!may_park) return false;
    block(rt::wait_reason::chan_send);
  }
  if (!may_park && !c->peek_send()) {
    rt::safepoint();
    return false;
  }

  if (c->type->slot->kind == layout_kind::ambiguous) note_sent(*c->type, elem);
  c->lock.lock();
  if (c->closed.load(std::memory_order_relaxed)) {
    c->lock.unlock();
    send_on_closed(c);
  }
  if (sudog* receiver = c->recvq.dequeue()) {
    c->lock.unlock();
    WARREN_SYNC_POINT();
    hand_to_receiver(*c->type, receiver, elem);
    wake(receiver, true);
    rt::safepoint();
    return true;
  }
  if (c->count() < c->dataqsiz) {
    c->push(elem);
    c->lock.unlock();
    rt::safepoint();
    return true;
  }
  if (!may_park) {
    c->lock.unlock();
    rt::safepoint();
    return false;
  }

  sudog me;
  me.gp = must_getg("send on a full channel");
  me.elem = elem;
  c->sendq.enqueue(&me);
  WARREN_SYNC_POINT();
  rt::gopark(&unlock_channel, c, rt::wait_reason::chan_send);
  if (!me.success) send_on_closed(c);
  return true;
}

[[gnu::noinline]] recv_result receive_and_note(hchan* c, void* elem, bool may_park) {
  const recv_result r = receive(c, elem, may_park);
  if (r == recv_result::value && c->type->slot->kind == layout_kind::ambiguous) note_received(*c->type, rt::getg(), elem);
  return r;
}

recv_result receive(hchan* c, void* elem, bool may_park) {
  if (c == nullptr) {
    if (!may_park) return recv_result::nothing;
    block(rt::wait_reason::chan_receive);
  }
  if (!may_park && !c->peek_recv()) {
    rt::safepoint();
    return recv_result::nothing;
  }

  c->lock.lock();
  if (sudog* sender = c->sendq.dequeue()) {
    if (c->dataqsiz == 0) {
      c->lock.unlock();
      WARREN_SYNC_POINT();
      take_from_sender(*c->type, elem, sender);
    } else {
      refill_from_sender(c, sender, elem);
      c->lock.unlock();
    }
    wake(sender, true);
    rt::safepoint();
    return recv_result::value;
  }
  if (c->count() > 0) {
    c->pop(elem);
    c->lock.unlock();
    rt::safepoint();
    return recv_result::value;
  }
  if (c->closed.load(std::memory_order_relaxed)) {
    c->lock.unlock();
    rt::safepoint();
    return recv_result::closed;
  }
  if (!may_park) {
    c->lock.unlock();
    rt::safepoint();
    return recv_result::nothing;
  }

  sudog me;
  me.gp = must_getg("receive from an empty channel");
  me.elem = elem;
  c->recvq.enqueue(&me);
  WARREN_SYNC_POINT();
  rt::gopark(&unlock_channel, c, rt::wait_reason::chan_receive);
  return me.success ? recv_result::value : recv_result::closed;
}
}  // namespace

void closechan(hchan* c) {
  if (c == nullptr)
    rt::fatal("goroutine %llu: close of nil channel: make it with make_chan first", static_cast<unsigned long long>(goroutine_id()));
  c->lock.lock();
  if (c->closed.load(std::memory_order_relaxed)) {
    c->lock.unlock();
    rt::fatal("goroutine %llu: close of closed channel %p: exactly one goroutine may close a channel, once",
              static_cast<unsigned long long>(goroutine_id()), static_cast<void*>(c));
  }
  // Release: whoever peeks "closed" and acts on it without the lock (drained) sees what came before the close.
  c->closed.store(true, std::memory_order_release);

  // Taken out under the lock, woken after it: a woken goroutine that runs at once on another P would only run into the lock.
  sudog* woken = nullptr;
  sudog** tail = &woken;
  const auto take_all = [&tail](waitq& q) {
    while (sudog* sg = q.dequeue()) {
      sg->next = nullptr;
      *tail = sg;
      tail = &sg->next;
    }
  };
  take_all(c->recvq);  // they return "closed"
  take_all(c->sendq);  // they die of "send on closed channel"
  c->lock.unlock();

  while (woken != nullptr) {
    sudog* sg = woken;
    woken = sg->next;
    WARREN_SYNC_POINT();
    wake(sg, false);
  }
}

size_t chanlen(const hchan* c) noexcept { return c == nullptr || c->type->hidden_buffer ? 0 : c->count(); }

size_t chancap(const hchan* c) noexcept { return c == nullptr || c->type->hidden_buffer ? 0 : c->dataqsiz; }

bool chandrained(const hchan* c) noexcept {
  // closed first: nothing is sent after it, so "empty" then stays true.
  return c != nullptr && c->closed.load(std::memory_order_acquire) && c->count() == 0;
}

}  // namespace warren::detail

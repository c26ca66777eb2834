// outbox: framed messages on their way from the handler to the connection.
//
// Two sides. The owner of the connection sends from one buffer: is asked how much there is for a frame, announces so much in the frame's
// header, and copies it later, or lends it. The one reply of a call is put there by the owner itself, when the handler has ended. A handler
// that streams, the writer, leaves its messages in a second buffer under the lock, which the owner takes over whole when its own is empty.
//
// A writer that is too far ahead parks until so little is unsent that it may go on. Bytes count as unsent until a frame header announces
// them; the owner subtracts them, and looks for the writer, under the lock that it takes anyway to take over what was written.
//
// After abort() writers add nothing, and those that are parked are readied. It is said under the lock: what add() refused was never there.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

#include "runtime/os/mutex.h"
#include "runtime/sched/park.h"
#include "server/grpc/limits.h"
#include "server/http2/byte_buffer.h"

namespace warren::grpc {

class outbox {
 public:
  // --- writer's ---
  // Leaves the messages for the owner and an empty buffer, or one with something in it that does not matter. How many bytes are unsent with
  // them; nullopt: the call is over, and they go nowhere.
  std::optional<size_t> add(byte_buffer& messages);
  // Parks until no more than so many bytes are unsent, or the call is over.
  void wait_for_room(size_t allowed);

  // --- owner's ---
  // What is sent from. For the reply of a call that does not stream, and for a page.
  byte_buffer& buffer() noexcept { return sending_; }
  // Announces what there is for a frame of at most so many bytes: offered(). true: that is all there is.
  bool offer(size_t most) noexcept {
    const size_t left = sending_.size() - at_;
    offered_ = std::min(left, most);
    return offered_ == left;
  }
  // The same, of what the writer has left too.
  bool offer_written(size_t most);
  size_t offered() const noexcept { return offered_; }
  // Of what was offered: copies n bytes, or says where they are. Lent bytes stay where they are until the buffer is retired.
  void take(char* into, size_t n) noexcept { std::memcpy(into, lend(n), n); }
  const char* lend(size_t n) noexcept {
    const char* const at = sending_.data() + at_;
    at_ += n;
    sent_ += n;
    offered_ -= n;
    return at;
  }
  uint64_t sent() const noexcept { return sent_; }  // bytes taken or lent
  // The call is over: nobody waits, nothing is added.
  void abort();
  // Nothing but what was offered will be sent. How many bytes were unsent. REQUIRES: abort().
  size_t drop_unsent();

  // Nobody uses it; buffer() has been emptied. REQUIRES: what is unsent no longer counts anywhere.
  void reset() noexcept {
    at_ = offered_ = 0;
    sent_ = 0;
    aborted_ = false;
    written_.reset(kKeptBytes);
    unsent_ = 0;
  }
  // Nobody uses it: bytes that were added and have not been announced.
  size_t unsent() const noexcept { return unsent_; }

 private:
  byte_buffer sending_;
  size_t at_ = 0;       // the first byte of it that was not taken
  size_t offered_ = 0;  // bytes from there that a DATA frame's header has announced
  uint64_t sent_ = 0;

  rt::mutex mutex_;          // guards the following
  bool aborted_ = false;     // the call is over
  byte_buffer written_;      // and not yet taken over by the owner
  size_t unsent_ = 0;        // bytes of messages added that no DATA frame's header has announced yet
  size_t goes_on_at_ = 0;    // so few unsent bytes make the writer go on
  rt::g* writer_ = nullptr;  // parked for room
};

}  // namespace warren::grpc

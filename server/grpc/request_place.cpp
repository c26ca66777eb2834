#include <cstdlib>
#include <cstring>
#include <new>

#include <warren/arena.h>
#include <warren/go.h>
#include <warren/grpc/context.h>
#include <warren/grpc/request_arena_block.h>
#include <warren/grpc/request_place.h>

#include "runtime/os/fatal.h"

namespace warren::grpc::detail {

const bool spoil_requests = [] {
  const char* const text = std::getenv("WARREN_GCPOISON");
  return text != nullptr && std::strcmp(text, "1") == 0;
}();

void message_slot::end_use_slow() noexcept {
  if (place_ == nullptr) return;
  if (kept_) {
    place_->let_go();
  } else {
    place_->spoil();
  }
  kept_ = false;
}

void part_is_elsewhere(const volatile void* part) noexcept {
  rt::fatal(
      "server_context::keep of %p, which is not in this call's request: pass the handler's request or a part of it, not a copy, nothing "
      "that was swapped or set into it, and no message of another call; a message of reader::read is the handler's own, and one of a "
      "codec of your own cannot be kept",
      const_cast<const void*>(part));
}

const std::string& empty_text() noexcept {
  static const std::string nothing;
  return nothing;
}

namespace {
// The goroutine stays on its thread meanwhile.
struct on_this_thread {
  on_this_thread() { lock_os_thread(); }
  ~on_this_thread() { unlock_os_thread(); }
};
}  // namespace

void* take_request_block(size_t bytes) {
  if (arena* const a = warren::detail::current_arena()) {
    const on_this_thread held;
    return a->allocate(bytes);
  }
  if (void* const p = std::malloc(bytes)) return p;
  throw std::bad_alloc();
}

void give_request_block(void* block, size_t) noexcept {
  if (!warren::detail::in_collected_heap(block)) std::free(block);
}

}  // namespace warren::grpc::detail

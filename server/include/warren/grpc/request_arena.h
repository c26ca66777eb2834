// request_arena: where protobuf request messages lie, so that a handler can keep them.
//
// One is a collected object: a google::protobuf::Arena, its first block, and a warren::arena for further ones. Whatever part of a
// message somebody points to, the object is kept, and with it all of the message (<warren/arena.h>).
//
// Whose it is.
//   the call's   as long as no handler keeps the request: a root holds it, and it serves request after request. The message is cleared in
//                between, not destroyed: its strings, sub-messages and repeated fields are used again, as of any message that lives on
//                (this is why a unary call asks malloc for next to nothing). The call ends it, eagerly, and no collection has to find out
//                that it is gone: no finalizer is registered.
//   nobody's     once the handler keeps a part of it: then, and only then, the finalizer is registered and the pacer is told what is
//                behind (external_bytes). The root goes when the handler returns; until then the handler may still pass references about.
//                When nobody points into it any more a collection queues the destructor, which is Arena's: it destroys the strings.
// So a call that keeps nothing costs what it did when messages were malloc's, and which it is, is said by the handler: that nobody has
// kept a part cannot be found out when a handler returns, short of a collection. A plain reference that outlives the handler is as wrong
// as it always was; WARREN_GCPOISON=1 fills such a request when its handler returns.
//
// Blocks. Arena asks for them by a function without an argument, so the arena that is meant is the goroutine's current one
// (warren::detail::arena_scope), set while a message is made or parsed: nothing else allocates on it. If reflection does (the repeated view
// of a map field of a kept message), malloc gives the block: what lies there is reached through the message only, and freed with it.
// Protobuf keeps, per thread, which part of which Arena that thread uses, and writes that down after it has got a block. Getting one may
// run a collection, and so park; a goroutine that came back on another thread would write into what the first one's next goroutine uses.
// Hence it is locked to its thread while it gets a block, which is seldom.
//
// What an arena does not take back. Fields that are cleared and set again cost fresh memory each time where they are maps, oneofs, or
// repeated fields that grow. So when more than kMost is in blocks it is reset, at the next request: strings are destroyed, blocks are
// garbage.
//
// Text. A std::string lies in the arena, what it holds beyond 15 characters is malloc's. A string_view or a char* into it keeps nothing; a
// ptr<const std::string> does, and the string stays as it is.
//
// Rejected. A collected object for each message and sub-message: protobuf's own pointers are plain, and pass no barrier. shared_ptr with
// aliasing pointers: two atomic counts at every copy, and one can be made of a part without the other. A finalizer for each request:
// 100 000 a second, all for nothing. To copy the request when it is kept: the handler's references are to the original.
#pragma once
#include <google/protobuf/arena.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>

#include <warren/arena.h>
#include <warren/gc.h>
#include <warren/grpc/request_arena_block.h>
#include <warren/grpc/request_place.h>
#include <warren/ptr.h>

// Holds plain pointers, into the arena and to memory of malloc: nothing for the collector.
template <>
struct warren::collected_as<google::protobuf::Arena> {
  using collected = warren::noscan;
};

namespace warren::grpc::detail {

class request_arena {
 public:
  using collected = finalized;
  // A size class, of which a call that was used has one: the message of a usual request with a few strings fits.
  static constexpr size_t kBytes = 768;
  // As a block and its header fill size classes.
  static constexpr size_t kFirstBlock = 1024 - 32, kLargestBlock = 8192 - 32;
  // What a message that is used again may hold of blocks.
  static constexpr size_t kMost = 32 << 10;

  // On a goroutine. Throws std::bad_alloc. Not by make(): that registers the finalizer.
  static ptr<request_arena> fresh();
  ~request_arena() {
    if (behind_ != 0) external_bytes(-behind_);
  }

  arena& memory() noexcept { return memory_; }
  google::protobuf::Arena& messages() noexcept { return messages_; }
  bool full() const noexcept { return memory_.bytes() > kMost; }
  bool contains(const volatile void* p) const noexcept {
    return reinterpret_cast<uintptr_t>(p) - reinterpret_cast<uintptr_t>(first_) < sizeof first_ || memory_.contains(p);
  }

  // From now on the collector decides. bytes: of malloc's memory behind the messages, as well as is known.
  void leave_to_collector(size_t bytes);
  // REQUIRES (both): not left to the collector.
  // No message is left. On a goroutine.
  void reset() {
    messages_.Reset();
    memory_.clear();
  }
  // The same for ever: what ~Arena would do. Any thread.
  void end() noexcept { messages_.Reset(); }
  void spoil() noexcept {
    end();
    std::memset(first_, 0xdb, sizeof first_);
  }

 private:
  static google::protobuf::ArenaOptions options_with(char* first, size_t bytes) noexcept {
    google::protobuf::ArenaOptions o;
    o.start_block_size = kFirstBlock;
    o.max_block_size = kLargestBlock;
    o.initial_block = first;
    o.initial_block_size = bytes;
    o.block_alloc = &take_request_block;
    o.block_dealloc = [](void* p, size_t n) { give_request_block(p, n); };
    return o;
  }
  request_arena() : messages_(options_with(first_, sizeof first_)) {}

  arena memory_;
  int64_t behind_ = 0;
  google::protobuf::Arena messages_;
  alignas(8) char first_[kBytes - sizeof(arena) - sizeof(int64_t) - sizeof(google::protobuf::Arena)];
  WARREN_FIELDS(memory_, behind_, messages_, first_);
};

inline ptr<request_arena> request_arena::fresh() {
  return ptr<request_arena>(::new (warren::detail::new_object(warren::detail::descriptor_of<request_arena>)) request_arena);
}

inline void request_arena::leave_to_collector(size_t bytes) {
  warren::detail::register_finalizer(this, warren::detail::descriptor_of<request_arena>);
  behind_ = static_cast<int64_t>(bytes);
  external_bytes(behind_);
}

// For requests of type T.
template <class T>
class arena_request_place final : public request_place {
 public:
  ~arena_request_place() override {
    if (message_ != nullptr && !kept_) arena_->end();
  }

  T& renewed() {
    if (message_ == nullptr || kept_ || arena_->full()) [[unlikely]] {
      replace();
    } else {
      message_->Clear();
    }
    return *message_;
  }
  bool parse(std::span<const char> bytes) {
    const warren::detail::arena_scope current(arena_->memory());
    bytes_ = bytes.size();
    return codec<T>::parse(*message_, bytes);
  }
  bool keep(const volatile void* part) override {
    if (message_ == nullptr || !arena_->contains(part)) return false;
    if (!kept_) arena_->leave_to_collector(bytes_);
    kept_ = true;
    return true;
  }
  void let_go() noexcept override {
    message_ = nullptr;
    kept_ = false;
    arena_ = nullptr;
  }
  void spoil() noexcept override {
    if (message_ == nullptr) return;
    arena_->spoil();
    let_go();
  }

 private:
  [[gnu::noinline]] void replace() {
    if (message_ != nullptr && !kept_) {
      message_ = nullptr;
      arena_->reset();
    } else {
      let_go();
      arena_ = request_arena::fresh();
    }
    const warren::detail::arena_scope current(arena_->memory());
    message_ = google::protobuf::Arena::CreateMessage<T>(&arena_->messages());
  }

  root<request_arena> arena_;
  T* message_ = nullptr;  // in arena_
  size_t bytes_ = 0;      // it was parsed from
  bool kept_ = false;
};

}  // namespace warren::grpc::detail

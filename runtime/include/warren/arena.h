// arena: memory that lives and dies as a whole, whatever part of it somebody keeps.
//
//   struct page {
//     warren::arena memory;
//     warren::ptr<const char> title;
//   };
//   const warren::ptr<page> p = warren::make<page>();
//   char* const text = static_cast<char*>(p->memory.allocate(100));
//   const warren::ptr<char> kept(text + 7);  // keeps all of the memory, and *p
//
// For what is made of many pieces with plain pointers among them, by code that knows nothing of the collector: a parser's tree, a message
// of protobuf (<warren/grpc/request_arena.h>). The collector does not look into the memory: a ptr must not be put there.
#pragma once
#include <cstddef>

#include <warren/ptr.h>

namespace warren {

class arena;

namespace detail {
// What precedes the memory of a block. The essay is in runtime/gc/arena.cpp.
struct arena_block {
  ptr<arena> owner;
  ptr<arena_block> next;
  size_t bytes = 0;   // that follow
  size_t unused = 0;  // what follows is aligned as the block is
};
}  // namespace detail

// A field of a collected object, or one itself (make<arena>()): that object is the owner, kept by every pointer into the memory as all of
// the memory is kept by every pointer to or into the owner. Elsewhere allocate() ends the process. If the owner's class is `finalized`, the
// memory is whole while its destructor runs.
//
// Used by one goroutine at a time. What was allocated may be written and read by anybody, as memory of malloc may.
class arena {
 public:
  arena() = default;
  arena(const arena&) = delete;
  arena& operator=(const arena&) = delete;

  // Zeroed memory, aligned to 16 bytes: a block of its own, so ask for much at once. On a goroutine; may run a collection. Throws
  // std::bad_alloc.
  void* allocate(size_t bytes);
  // Is p in what was allocated since the last clear()? (Not: in the owner.)
  bool contains(const volatile void* p) const noexcept;
  // Allocated since the last clear().
  size_t bytes() const noexcept { return bytes_; }
  // Lets go of all memory: it lives on as far as somebody points into it, and keeps the owner, but is no longer kept by the owner. On a
  // goroutine.
  void clear() noexcept {
    blocks_ = nullptr;
    bytes_ = 0;
  }

 private:
  ptr<detail::arena_block> blocks_;
  size_t bytes_ = 0;
  WARREN_FIELDS(blocks_, bytes_);
};

namespace detail {
// Makes an arena the one that code finds which is called back without an argument (protobuf's block_alloc): of the calling goroutine, until
// the end of the scope. Scopes nest.
class arena_scope {
 public:
  explicit arena_scope(arena& a) noexcept;
  ~arena_scope();
  arena_scope(const arena_scope&) = delete;
  arena_scope& operator=(const arena_scope&) = delete;

 private:
  void* before_;
};
// The innermost; nullptr: there is none, or this is no goroutine.
arena* current_arena() noexcept;

// Is it an address of the collected heap, of whatever is there? Any thread.
bool in_collected_heap(const volatile void* p) noexcept;
}  // namespace detail

}  // namespace warren

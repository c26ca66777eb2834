// arena: blocks of collected memory that keep their owner, and are kept by it.
//
// What is wanted: any address in any block keeps the owner and all other blocks; nothing in the blocks is looked at; blocks outlive the
// owner's destructor (protobuf's ~Arena destroys strings whose headers lie in the blocks).
//
// How. A block is an ordinary object whose pointer map has two words, the first ones: its owner and the next block. The owner has the head
// of the list. So owner and blocks are a ring of plain typed edges:
//
//        owner ── blocks_ ──▶ block ── next ──▶ block ── next ──▶ null
//          ▲                    │ owner            │ owner
//          └────────────────────┴──────────────────┘
//
// and everything the collector knows of objects holds without a word about arenas:
//   interior pointers   any address in a slot marks the slot's object, on stacks, in roots, in ptrs and in what the barrier shades; the
//                       scan of the block's two words greys the owner, the owner's scan the other blocks
//   concurrent marking  the edges are ptrs and written by their operations, so each store passes the barrier. A block that is made
//                       while a collection marks is black and unseen; storing its owner shades the owner, which may be white still (the
//                       block is then its only way: black, but what is stored into it was shaded), and linking it shades the block it
//                       pushes down the list. That is the argument for any object that gets fields while it is new (gc/collector.h), in
//                       each of the four modes, and the marker, checkmark, the second scan of stacks and the check for zombies need no case
//                       of their own.
//   the destructor      a finalized owner that nobody reaches is greyed by the finalizers before anything is swept: its scan greys the
//                       blocks. Nothing but the owner is registered, so a ring is no hindrance. Block and owner are free one
//                       collection after the destructor was queued, together. That nobody reached the owner means that nobody had an
//                       address in a block, so none is left when the destructor runs.
// The price is 32 bytes in a block, and at its scan one word of the pointer map for 512 bytes of it.
//
// Rejected. A kind of span of its own, with a link to the owner beside its pages: a block would cost whole pages of 8 KiB or the owner's
// blocks a slot allocator of their own, the marker would ask for the kind at every address, and a list of blocks for the owner would be
// needed all the same; it saves the 32 bytes. Blocks as large objects only: likewise. A set of blocks in a table beside the heap (as
// protobuf's own list): the marker would have to find it, under a lock. The essay of design B in which this was a span kind did not
// see that a map of two words does it.
//
// What follows the header is never scanned: its words are not in the map. Whoever needs pointers there needs another container.
#include "warren/arena.h"

#include <new>

#include "runtime/memory.h"
#include "runtime/os/fatal.h"
#include "runtime/sched/g.h"
#include "runtime/sched/park.h"

namespace warren {

using detail::arena_block;

namespace {
constexpr size_t kAlignment = 16;
static_assert(sizeof(arena_block) % kAlignment == 0);
constexpr detail::type_descriptor kBlock = [] {
  detail::type_descriptor t = detail::descriptor_of<arena_block>;
  t.align = kAlignment;
  return t;
}();
}  // namespace

void* arena::allocate(size_t bytes) {
  rt::memory_manager& mm = rt::memory();
  if (!mm.heap.contains(reinterpret_cast<uintptr_t>(this)))
    rt::fatal(
        "the arena at %p is not in a collected object, so pointers into its memory would not keep it: make the object that holds it with "
        "warren::make",
        static_cast<const void*>(this));
  if (bytes >= (size_t{1} << 47)) throw std::bad_alloc();
  void* const place = rt::mallocgc(sizeof(arena_block) + bytes, kBlock);
  auto* const block = ::new (place) arena_block{ptr<arena>(this), blocks_, bytes, 0};
  blocks_ = ptr<arena_block>(block);
  bytes_ += bytes;
  return block + 1;
}

bool arena::contains(const volatile void* p) const noexcept {
  const auto at = reinterpret_cast<uintptr_t>(p);
  for (const arena_block* b = blocks_.get(); b != nullptr; b = b->next.get())
    if (at - reinterpret_cast<uintptr_t>(b + 1) < b->bytes) return true;
  return false;
}

namespace detail {

arena_scope::arena_scope(arena& a) noexcept : before_(nullptr) {
  rt::g* const gp = rt::getg();
  if (gp == nullptr) rt::fatal("an arena_scope was begun outside a goroutine: warren::run and warren::go make them");
  before_ = gp->arena;
  gp->arena = &a;
}
arena_scope::~arena_scope() { rt::getg()->arena = before_; }

arena* current_arena() noexcept {
  rt::g* const gp = rt::getg();
  return gp == nullptr ? nullptr : static_cast<arena*>(gp->arena);
}

bool in_collected_heap(const volatile void* p) noexcept {
  const rt::memory_manager* const mm = rt::memory_if_any();
  return mm != nullptr && mm->heap.contains(reinterpret_cast<uintptr_t>(p));
}

}  // namespace detail
}  // namespace warren

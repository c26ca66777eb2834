// Where goroutine stacks live: address space, slots, guards.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "runtime/heap/page_arena.h"

namespace warren::rt {

class scavenger;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr size_t kStackScale = 4;  // instrumented frames are two to four times as large
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr size_t kStackScale = 4;
#else
inline constexpr size_t kStackScale = 1;
#endif
#else
inline constexpr size_t kStackScale = 1;
#endif

// The classes are warren::stack_size of <warren/go.h>: normal 64 KiB, large 256 KiB, huge 1 MiB.
inline constexpr int kStackClasses = 3;

constexpr size_t stack_slot_size(int cls) noexcept { return ((size_t{64} * 1024) << (2 * cls)) * kStackScale; }

// The lowest bytes of every slot: touching them is a stack overflow. Included in the slot's size.
// One page on x86-64. On aarch64 16 KiB, which holds for kernels with 4 KiB and with 16 KiB pages (the essay in stack_arena.cpp tells why
// not the 64 KiB that gcc's stack probes assume there).
#if defined(__aarch64__)
inline constexpr size_t kStackGuard = size_t{16} * 1024;
#else
inline constexpr size_t kStackGuard = size_t{4} * 1024;
#endif

// How an overflow is noticed, from the best to the last resort.
enum class guard_mode : uint8_t {
  automatic,       // the best that the kernel offers
  vector_markers,  // MADV_GUARD_INSTALL through process_madvise, up to 1024 guards per system call
  markers,         // MADV_GUARD_INSTALL, one madvise per guard
  protection,      // mprotect, within 40 % of vm.max_map_count; what is beyond has canaries
  canary,          // no guard: the switch looks whether the guard's bytes were written
};
const char* to_string(guard_mode m) noexcept;

// ---- layout of a slot --------------------------------------------------------------------------------------------------------------
//
//   slot                                                                                          slot + stack_slot_size(cls)
//   | guard | stack, growing down <------------------------------------ | control block | colour |
//                                                       control_block() ^
//
// Slots are aligned to their size, so the slot of any address on the stack is one mask away. The control block (the scheduler's g) lies in
// the page that the first frame touches anyway. The colour, (slot number mod 16) cache lines, keeps the hottest lines of different
// goroutines out of the same sets of the first-level cache, which are chosen by the offset within a page alone.
inline constexpr size_t kStackColours = 16;
inline constexpr size_t kStackColourStep = 64;

// Where the control block of a slot begins: 64-byte aligned; control_size bytes from there on are free to use. Pure arithmetic.
inline std::byte* control_block(std::byte* slot, int cls, size_t control_size) noexcept {
  const size_t number = reinterpret_cast<uintptr_t>(slot) / stack_slot_size(cls);
  const size_t colour = number % kStackColours * kStackColourStep;
  return slot + stack_slot_size(cls) - colour - (control_size + 63) / 64 * 64;
}

// The lowest usable address of a slot's stack.
inline std::byte* stack_low(std::byte* slot) noexcept { return slot + kStackGuard; }

// One reservation of address space that holds a region per class. Thread safe. Addresses stay reserved until the arena dies; every
// slot handed out must be unused by then.
class stack_arena {
 public:
  struct options {
    // Address space per class; rounded up to whole slots. Smaller (halved until it fits) when RLIMIT_AS or the kernel refuses.
    size_t region_bytes[kStackClasses] = {size_t{128} << 30, size_t{16} << 30, size_t{16} << 30};
    guard_mode forced = guard_mode::automatic;  // a mode the kernel lacks falls to the next one
    size_t protection_budget = 0;               // guards by mprotect at most; 0: 40 % of vm.max_map_count / 2
  };

  struct statistics {
    size_t slots_capacity[kStackClasses];  // what the reservation has room for
    size_t slots_made[kStackClasses];      // with their guards; of these
    size_t slots_idle[kStackClasses];      // are free, and the scavenger's for the taking
    size_t slots_released[kStackClasses];  // are free, and the system has their memory, or has never given any
    uint64_t given_back;                   // slots that have become so, ever
    size_t slots_unguarded;                // of those made, how many have only a canary
    guard_mode mode;                       // the mode in use (never automatic)
  };

  // Reserves the address space. Dies with one line when not even a few slots can be had.
  explicit stack_arena(const options& o);
  stack_arena() : stack_arena(options{}) {}
  ~stack_arena();
  stack_arena(const stack_arena&) = delete;
  stack_arena& operator=(const stack_arena&) = delete;

  // Fills out[0..n) with the addresses of slots, the lowest that are free, and returns how many it could get; fewer than n only when the
  // region is exhausted. What a slot contains is undefined (a used slot is not cleared).
  size_t allocate(int cls, std::byte** out, size_t n) noexcept;
  // All free slots of an aligned group of 64, the lowest that has any: for a P. Empty when the region is exhausted.
  page_cache allocate_group(int cls) noexcept;
  // Gives back what is left of one, as it is: slots that have no memory still count as such. It is empty then.
  void release_group(int cls, page_cache& group) noexcept;
  std::byte* slot_at(int cls, size_t number) const noexcept {
    return reinterpret_cast<std::byte*>(base_ + start_[cls] + number * stack_slot_size(cls));
  }
  // Below stats().slots_capacity. REQUIRES: slot is one of that class.
  size_t number_of(int cls, const std::byte* slot) const noexcept {
    return (reinterpret_cast<uintptr_t>(slot) - base_ - start_[cls]) / stack_slot_size(cls);
  }

  // Gives slots back. Their memory stays resident until a scavenger takes it.
  void release(int cls, std::byte** slots, size_t n) noexcept;

  // The scavenger that looks after the free slots, until the arena dies. Called once, before the first slot is handed out; the scavenger
  // lives longer than the arena.
  void set_scavenger(scavenger& s) noexcept;

  // Is this address in a stack region? One subtraction and compare: the regions are adjacent.
  bool contains(const void* addr) const noexcept { return reinterpret_cast<uintptr_t>(addr) - base_ < bytes_; }

  // REQUIRES: contains(addr).
  int class_of(const void* addr) const noexcept {
    const uintptr_t offset = reinterpret_cast<uintptr_t>(addr) - base_;
    return offset < start_[1] ? 0 : offset < start_[2] ? 1 : 2;
  }
  std::byte* slot_of(const void* addr) const noexcept {
    return reinterpret_cast<std::byte*>(reinterpret_cast<uintptr_t>(addr) & ~(stack_slot_size(class_of(addr)) - 1));
  }

  // True when a fault, not only a canary, ends an overflow of this slot. REQUIRES: slot was handed out by allocate.
  bool guarded(const std::byte* slot) const noexcept;

  // What a sanitizer knows the slot's stack by (TSan's fiber, created at the first call and kept as long as the arena lives: they are dear
  // and few); nullptr in other builds. Tells valgrind about the stack, too. REQUIRES: one caller per slot at a time.
  void* sanitizer_fiber(std::byte* slot) noexcept;

  statistics stats() const noexcept;

 private:
  struct region {
    std::optional<page_arena> slots;  // its pages are slots
    size_t capacity = 0;              // slots
    size_t next_batch = 0;            // slots to make next time: doubles up to kLargestBatch. Guarded by slots->lock
    std::atomic<size_t> unguarded{0};
    uint8_t* guard_made = nullptr;    // per slot: 1 when a real guard is in place
    uintptr_t* annotation = nullptr;  // per slot: sanitizer_fiber's memory
  };

  bool grow(int cls, region& r) noexcept;
  void install_guards(int cls, region& r, size_t first, size_t n) noexcept;
  void keep_limit(size_t slots) noexcept;
  template <class F>
  bool take(int cls, F&& from) noexcept;

  uintptr_t base_ = 0;  // of the reservation's aligned part
  uintptr_t bytes_ = 0;
  uintptr_t start_[kStackClasses + 1] = {};  // offsets of the regions; the last one is bytes_
  region regions_[kStackClasses];
  guard_mode mode_ = guard_mode::automatic;
  std::atomic<size_t> protection_budget_{0};  // guards that mprotect may still make
  std::atomic<bool> unguarded_reported_{false};
  scavenger* scavenger_ = nullptr;
  void* mapping_ = nullptr;
  size_t mapping_bytes_ = 0;
  void* metadata_ = nullptr;
  size_t metadata_bytes_ = 0;
};

}  // namespace warren::rt

// One state of the model, and its canonical form.
//
//   value     0 null, 1…4 an object
//   slot      0…7 field of an object (object 1's are 0 and 1), 8 and 9 the ptr on the stack of goroutine 0 and 1, 10 the root cell
//   a word    value, or value | kDead: no live ptr there, but these bits (what the destruction left)
//
// Canonical form. Objects that nothing can ever reach or mark again are made free: neither reachable from goroutines, registers, store
// buffers or the cell, nor from anything grey. (They influence no step. So "4 objects" bounds those that matter at one time.) Objects are
// numbered in the order in which a walk from the first goroutine's words finds them; a goroutine's two locals, and the two goroutines, may
// change places. States that differ only so have the same future up to the same renaming: the rules never compare names.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "protocol.h"

namespace gcmodel {

inline constexpr int kMaxObjects = 4, kMaxSlots = 2, kMaxLocals = 2, kGoroutines = 2;
inline constexpr uint8_t kDead = 8;
inline constexpr uint8_t kStackSlot = 8, kCellSlot = 10, kNoSlot = 15;
constexpr uint8_t value_of(uint8_t word) noexcept { return word & 7; }
constexpr bool live(uint8_t word) noexcept { return (word & kDead) == 0; }

enum class colour : uint8_t { free, white, grey, black };
// flagged: the barrier's flag is set, the membarrier has not happened yet. lost: the collection has freed a reachable object.
enum class phase : uint8_t { off, flagged, mark, lost };
enum class operation : uint8_t { none, assign, construct, destroy, go, make, hand };

struct goroutine {
  std::array<uint8_t, kMaxLocals> local{};
  uint8_t ptr = kDead;  // the word of the ptr on its stack
  // The operation under way: which, the next instruction, and its registers.
  operation op = operation::none;
  uint8_t pc = 0;
  uint8_t dst = kNoSlot;  // the slot it writes
  uint8_t fresh = 0;      // the new value
  uint8_t old = 0;
  uint8_t made = 0;                                    // make: the new object, whose first field is being constructed
  bool on = false;                                     // the flag, as it was read
  bool spared = false;                                 // the container was not black (rules::only_if_black)
  uint8_t buffered_slot = kNoSlot, buffered_word = 0;  // a store not yet visible to others
  bool alive = false, has_p = true;
  bool scanned = false;  // black
  bool ran = false;      // since it was scanned
  bool operator==(const goroutine&) const = default;
};

struct state {
  std::array<std::array<uint8_t, kMaxSlots>, kMaxObjects> field{};
  std::array<colour, kMaxObjects> colour_of{};
  std::array<goroutine, kGoroutines> g{};
  std::array<uint8_t, kGoroutines> buffer{};  // of P 0 and 1, as a set of objects: bit v for value v. Goroutine i runs on P i or on none
  uint8_t cell = 0;
  bool cell_scanned = false;
  uint8_t scanning = 0, scanned_fields = 0;  // the object the marker is in, how far
  phase at = phase::off;
  uint8_t ragged = 0;  // Ps flushed in this attempt to terminate
  bool operator==(const state&) const = default;

  colour of(uint8_t v) const noexcept { return colour_of[static_cast<size_t>(v - 1)]; }
  colour& of(uint8_t v) noexcept { return colour_of[static_cast<size_t>(v - 1)]; }
  bool white(uint8_t v) const noexcept { return v != 0 && of(v) == colour::white; }
  bool any_grey() const noexcept {
    for (const colour c : colour_of)
      if (c == colour::grey) return true;
    return false;
  }
  uint8_t& word(uint8_t slot) noexcept {
    if (slot == kCellSlot) return cell;
    if (slot >= kStackSlot) return g[slot - kStackSlot].ptr;
    return field[slot / kMaxSlots][slot % kMaxSlots];
  }
  uint8_t word(uint8_t slot) const noexcept { return const_cast<state*>(this)->word(slot); }
};
constexpr uint8_t object_of(uint8_t slot) noexcept { return slot < kStackSlot ? static_cast<uint8_t>(slot / kMaxSlots + 1) : 0; }
constexpr uint8_t slot_of(uint8_t object, int field) noexcept { return static_cast<uint8_t>((object - 1) * kMaxSlots + field); }

using packed = std::array<uint64_t, 3>;
packed pack(const state& s) noexcept;
state unpack(const packed& p) noexcept;

}  // namespace gcmodel

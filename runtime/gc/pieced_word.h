// Words of stacks that lead to objects and are nobody's pointers.
//
// The first kind are words that nobody wrote as a whole.
//
// A frame's memory is what earlier frames have left, until the function writes it, and not every write is a word long. A select over one
// channel writes one byte of its array of indices, an empty optional one byte that says "empty", an empty std::string one zero byte: where
// an address lay before, there is now the same address with other bytes at its low end, which is the address of a neighbour. Nobody ever
// held that. A marker need not care (it marks too much at worst), but whoever takes an unmarked object that a stack leads to for a lost
// one must: the neighbour may be garbage since the marking, or since before it. (Found so in selectgo's poll_order_: the word
// 0x7ef5d2498300 on the stack, the object at 0x7ef5d2498360 held by the goroutine. It took ThreadSanitizer's larger frames to put a
// leftover pointer just there, but nothing keeps other builds from doing so.)
//
// What can be said of a word of a stack that was cleared when it was scanned (checkmark.h): whole pointers written there since are marked,
// or no addresses of objects: that is the very claim that is checked. So a word to an unmarked object that is *not* a lost pointer was made
// of a marked object's address, by a write of less than a word. Bytes are written upwards from the word's start (what would be changed
// above the fourth leads out of any heap that is checked), and they are small numbers (flags, enumerators, indices) or a short string. The
// question is thus: are the word's lowest bytes like that, and is there anything marked whose address differs only in them? If not, the
// word is what it seems.
//
// Others are whole, and no pointers. A compiler may let a loop over an object's words count with the address of the word before the first
// (words[i - 1] with i from 1 is one register less): that is the last word of its neighbour. (Found so in clear_places, called for the
// first entry of a hash_map: the words 0x7df576ecf3f8 and 0x7df576ecf400 in one frame, the live table at the latter.)
//
// And the base of a span, and of the group of slots that is allocated from. Whoever finds a slot computes with them, on the stack of the
// goroutine that allocates or asks, and a register that held one is saved by what is called next. (Found so in a test's call of
// find_object: the base was in a callee-saved register when the frame of the next function was made.) So the exact address of the first of
// 64 slots proves nothing. Spans of one object have no use for it.
//
// What this costs the checks: of 32 addresses, one in four has a low byte below 64 (a multiple of 8) and will be doubted if something
// marked lies within 256 bytes. A barrier that loses pointers does not choose them by their low bytes; and what is doubted is not marked
// by the checks, so it is swept, and poisoned in the tests, whose objects have guards.
//
// Rejected: to doubt all words of stacks (losing a pointer that is only on a stack is what hybrid's proof is about); to call an object lost
// only if it was reachable when the marking began (true of every lost one, but these neighbours usually were, too); to compile with
// variables zeroed (the check is for programs as they are).
#pragma once
#include <cstdint>

#include "runtime/heap/mheap.h"

namespace warren::rt {

// REQUIRES: world stopped, everything reachable marked.
// The word leads to an object (o) that is not marked. Is that no proof that a pointer was lost?
bool may_be_nobodys(const mheap& heap, uintptr_t word, const object_ref& o) noexcept;

}  // namespace warren::rt

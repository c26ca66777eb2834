// The phases of a collection.
//
//   off ── sweep_termination ── mark ── mark_termination ── off (the sweep goes on, lazily)
//                                 ╰──────────╯  something was still grey
//
// The world stands in both terminations. In mode `stw` it also stands in between; in the others it runs while `mark` goes on.
#pragma once
#include <cstdint>

namespace warren::rt {

enum class gc_phase : uint8_t {
  off,                // no marking; allocation is white. Spans may wait for their sweep
  sweep_termination,  // what is left of the last cycle is swept, mcaches are emptied
  mark,               // roots are marked, then what they reach; allocation is black, the barrier is on
  mark_termination,   // what could not be scanned while it ran; finalizers, checks, accounts; spans are released to the sweep
};
inline constexpr int kGcPhases = 4;
const char* to_string(gc_phase p) noexcept;

}  // namespace warren::rt

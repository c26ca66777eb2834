// The phases of a collection.
//
//   off ── sweep_termination ── mark ── mark_termination ── off (the sweep goes on, lazily)
//
// In mode `stw` the world stands from sweep_termination to the end of mark_termination. The concurrent modes will let it run in `mark`; the
// phases stay.
#pragma once
#include <cstdint>

namespace warren::rt {

enum class gc_phase : uint8_t {
  off,                // no marking; allocation is white. Spans may wait for their sweep
  sweep_termination,  // what is left of the last cycle is swept, mcaches are emptied
  mark,               // roots are marked, then what they reach
  mark_termination,   // finalizers, checks, accounts; spans are released to the sweep
};
inline constexpr int kGcPhases = 4;
const char* to_string(gc_phase p) noexcept;

}  // namespace warren::rt

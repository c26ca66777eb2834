// The canonical form of a state: one for all that differ in names only (state.h).
#pragma once
#include "machine.h"

namespace gcmodel {

using packed = std::array<uint64_t, 3>;
packed pack(const state& s) noexcept;
state unpack(const packed& p) noexcept;

// REQUIRES: m.drop_garbage(s) was called.
packed canonical(const machine& m, const state& s) noexcept;

}  // namespace gcmodel

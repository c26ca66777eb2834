// What must hold in every state. Empty if it does, else a sentence.
//
//   weak    a white object that a black object, a black stack or the scanned cell points to is protected: something grey leads to it
//           through white objects. Grey are: objects in the queue, what lies in barrier buffers, stacks not scanned yet (or never black),
//           the cell before its scan, and the registers of a barrier under way that will yet be shaded.
//   strong  a black object points to no white one, but for what a barrier under way has still to shade (buffers, registers).
//   exact   (yuasa) what was reachable when the collection began is not lost sight of before it is marked: checked by the search when
//           something white becomes garbage.
#pragma once
#include <string>

#include "machine.h"

namespace gcmodel {

struct claims {
  bool weak = false, strong = false, exact = false;
};

// Which invariants the rules of a mode promise.
claims claims_of(mode m) noexcept;
std::string violated(const machine& m, const state& s, const claims& c);

}  // namespace gcmodel

// A step and a state as a person reads them.
#pragma once
#include <string>

#include "machine.h"

namespace gcmodel {

// One line: number, who does what, and what has changed.
std::string describe(const machine& m, unsigned number, const state& before, const successor& n);

}  // namespace gcmodel

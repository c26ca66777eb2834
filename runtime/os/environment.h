// Numbers from the environment.
#pragma once
#include <cstdint>

namespace warren::rt {

// The value of a variable that holds a decimal number; `otherwise` when it is unset or empty. Anything but a number from least to most ends
// the process with one line that says so: a setting that is silently ignored is worse.
int64_t environment_number(const char* name, int64_t least, int64_t most, int64_t otherwise);

}  // namespace warren::rt

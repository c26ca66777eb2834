// Parts of the runtime that lie inside collected objects hold no collected pointers.
#pragma once
#include "runtime/os/mutex.h"
#include "warren/ptr.h"

template <>
struct warren::collected_as<warren::rt::mutex> {
  using collected = warren::noscan;
};

// A full memory fence in every running thread of this process, at the cost of the caller alone (Linux 4.14: membarrier(2), private
// expedited). It turns the rare side of Dekker's pattern into the only one that pays: the frequent side needs a compiler barrier between
// its store and its load, no instruction.
#pragma once

namespace warren::rt {

// Executes the fence and returns true; false where the kernel (or a sandbox, or an emulator) refuses it: then nothing was ordered, and the
// caller must do without what it wanted. Any thread, any time; about 2 µs per processor that runs a thread of ours.
bool fence_all_threads() noexcept;

}  // namespace warren::rt

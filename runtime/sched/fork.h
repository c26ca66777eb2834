// fork() from a program whose runtime runs.
//
// The child has one thread, the one that forked; the other Ms, sysmon and the poller's thread do not exist there, and locks they held stay
// locked. Nothing of the runtime can work, and no attempt is made: the child may exec or _exit (and what it does with plain libc is its own
// affair); whatever enters the runtime ends it with one line. It costs the paths of the runtime nothing: the atfork handler takes the
// thread its m away, so that every entry goes the way of a thread that warren did not start, and that way asks.
#pragma once

namespace warren::rt {

// Once per process; cheap to repeat.
void watch_forks() noexcept;

// Fatal, with the line that says why, in a child that was forked while a runtime ran; returns anywhere else.
void check_not_forked() noexcept;

}  // namespace warren::rt

// Stopping the world, and looking at it while it stands.
#pragma once

namespace warren::rt {

struct p;

// Stops every P but the caller's at a safepoint, and takes the Ps that are idle or in a declared blocking region. On return no goroutine
// runs but the caller's; threads in blocking regions go on but cannot come back. One stop at a time: further callers park until it is over.
// On a goroutine, outside a bracket, no lock held. `why` appears in diagnostics.
void stop_the_world(const char* why);
void start_the_world();

// Runs fn(arg) on the scheduler's stack of this thread, the caller's registers saved on its own stack: with the world stopped, its stack
// can then be scanned like that of a parked goroutine. fn must not park. May be called whether or not the world is stopped.
void systemstack(void (*fn)(void*), void* arg);

// REQUIRES: world stopped, called from systemstack. Calls visit(ctx, lo, hi) for every range of words that may hold pointers on behalf of a
// goroutine: live stacks, saved registers of blocking regions, closures of goroutines that have not started, hand-over words in g.
void for_each_stack(void (*visit)(void* ctx, const void* lo, const void* hi), void* ctx);

// REQUIRES: world stopped.
void for_each_p(void (*visit)(void* ctx, p* pp), void* ctx);

// Is addr where words are visited on behalf of goroutines: on a stack, in the closure of one that has not started, or in one that the
// caller is making? Any thread, any time.
bool is_goroutine_memory(const void* addr) noexcept;

}  // namespace warren::rt

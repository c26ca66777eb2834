// Goroutines that are made now and started, if at all, by a timer or by the poller.
//
// A timer's function runs on a scheduler's stack, where nothing may be allocated that could fail or park. So the goroutine it is to start
// exists beforehand: a newborn (runtime/sched/g.h), which is a queue entry with a small closure, 128 bytes from the P's free list.
// The collector scans the closures of all newborns: the newborn is also what keeps the timer's own memory alive while it is armed and
// nobody else remembers it. One owner at a time: who made it, until the timer is armed; then the timer, until it fires (and starts it) or
// is stopped in time (and the stopper owns it again).
//
// The poller holds newborns for another reason: who has nothing to remember while he waits for a descriptor needs no stack meanwhile
// (fd::go_when_readable).
#pragma once
#include "warren/ptr.h"

namespace warren::detail {

struct newborn;

// A goroutine that will call fn(object). Not counted as one before it is started. On a goroutine, no safepoint. Throws std::bad_alloc.
newborn* defer_goroutine(const ptr<void>& object, void (*fn)(void* object));
// The same for an object that is not collected memory.
newborn* defer_goroutine(void* object, void (*fn)(void* object));
// Makes it runnable. As goready: any thread, any stack; no safepoint.
void start_deferred(newborn* nb) noexcept;
// It will not be started. On a goroutine.
void drop_deferred(newborn* nb) noexcept;

}  // namespace warren::detail

// Holding a goroutine still that does not run, to look at its stack or to take pages from it.
//
// A parked goroutine may be readied and run at any instant, by anybody. A lock, or a compare-and-swap of its status, would make every
// goready and every switch pay for what happens every ten seconds. So it is Dekker's problem once more, with the price on the rare side:
//
//   who runs it (m_loop)                        who claims it
//   1  gp->status = running                     a  gp->stack_claimed = 1
//   2  compiler barrier                         b  membarrier: a full fence in every running thread
//   3  if (gp->stack_claimed) wait for 0        c  if (gp->status is waiting or runnable) it is held until stack_claimed = 0
//
// If load 3 came before the fence that (b) put into that thread and saw 0, store 1 came before it, too, and (c) sees `running`, or what
// followed it. What may have followed is that the goroutine parked again: its status is `waiting` then, stored with release after its
// registers were saved, or already `runnable`, stored with release by whoever readied it (relaxed, it would say nothing about the
// registers: tests/interleave/stack_claim_test.cpp found that); and its next run comes to line 3 after the fence and waits. So whatever (c)
// sees, while the claim is held the stack from the saved stack pointer upwards is changed by nobody but those who hold pointers into it (a
// channel that delivers a value), and what lies below the stack pointer belongs to nobody: a suspended goroutine has no red zone, it is
// inside the call of the switch, and signal handlers run on stacks of their own.
//
// Who waits at line 3 keeps its thread and P. So claims are short (a system call over some dozens of stacks, or a walk over one), the
// holder takes no lock that a goroutine could hold, and goroutines that wake often are not claimed at all.
//
// The memory of an ended goroutine's stack may be given back, the word with it. A claimant who saw the goroutine alive, and was held up
// between (a) and (c) since, would lose its claim unseen, and (c) might find the next goroutine there. So who frees the stack claims it
// first, as `freed`, and leaves it in the pool if that fails. Then either the word stays as it is until the stack is used again, and no (a)
// succeeds; or it becomes 0 with all of the page, and an (a) after that is a claim on whoever comes next, in good order (the checker's
// mutant frees_what_is_claimed shows what happens otherwise).
//
// Where membarrier is refused there are no claims: claim_stacks returns 0, stacks keep their pages and are scanned while the world stands.
#pragma once
#include <cstddef>
#include <cstdint>

#include "runtime/sched/g.h"

namespace warren::rt {

// A goroutine in a declared blocking region runs, but its frames above blocking_sp stand still until it has left the region, and before
// exit_blocking lets it go on it comes to line 3, too: it can be claimed like a parked one. What lies below blocking_sp is its own.
//
// There are two claimants, the scavenger and the collector, and the latter has many workers: who finds the word set already leaves the
// goroutine alone.

// Claims those of gs[0..n) that are parked or queued, or (if sps is not null) in a blocking region, and that nobody else has claimed: they
// are moved to the front of gs, and their number is returned. Until release_stacks their frames do not change from sps[i] upwards, and
// those that are not in a blocking region do not run. The status goes on changing meanwhile: waiting or syscall to runnable, and to running
// while the M waits in own_stack.
size_t claim_stacks(g** gs, size_t n, const void** sps = nullptr) noexcept;
void release_stacks(g* const* gs, size_t n) noexcept;

// For who frees the stack of a dead goroutine. false: somebody claims it at the moment.
inline bool claim_freed(g* gp) noexcept {
  uint32_t nobody = 0;
  return gp->stack_claimed.compare_exchange_strong(nobody, g::kFreed, std::memory_order_acquire, std::memory_order_relaxed);
}
// For who takes it again, if its memory was not given back meanwhile.
inline void release_freed(g* gp) noexcept {
  if (gp->stack_claimed.load(std::memory_order_relaxed) == g::kFreed) gp->stack_claimed.store(0, std::memory_order_release);
}

// For who is about to run gp, after it stored the status: returns when nobody claims the stack.
void wait_for_stack(const g* gp) noexcept;
inline void own_stack(const g* gp) noexcept {
  asm volatile("" ::: "memory");
  if (gp->stack_claimed.load(std::memory_order_acquire) != 0) [[unlikely]]  // acquire: what the last claimant did is done
    wait_for_stack(gp);
}

}  // namespace warren::rt

// owner_word: who owns a connection, and what is queued for the owner. Flat combining for the server's connections and the client's.
//
// Ownership and the queue of posted nodes are one atomic word:
//   0          nobody, nothing is queued
//   kOwned     somebody, nothing is queued
//   a node*    somebody; the chain of nodes (latest first) ends with kOwned
// To post: if the word is free, make it owned, and the poster, now the owner, handles its node itself (with try_own what happened need not
// even be written down in node::events); else push the node in front of the chain. To let go: compare-and-swap owned → free, which fails if
// anything was pushed; then take the chain, handle it, try again. So a node is never left without an owner: it is pushed only onto a word
// that says "owned", and the owner cannot leave while the word is anything else. This is the wait-free write of brpc's sockets, with frames
// of many streams combined into one write instead of one write each.
//
// Memory order. Pushing is a release CAS, taking the chain an acquire exchange: what the poster wrote before posting (a message, bits
// in node::events) is visible to the owner who handles the node. Letting go is a release CAS, becoming owner an acquire CAS: the next owner
// sees the session as the last one left it. A node that is already queued is not pushed twice: the poster's fetch_or on node::events and
// the owner's exchange are both acq_rel on the same word, so either the poster sees kQueued and the owner's exchange, which comes later in
// that word's order, sees its bits; or the poster sees it clear and pushes the node anew. node::next is written by the pusher alone and
// read by the owner after taking the chain; it is not touched again before the owner's exchange on events made the node free to be pushed.
//
// The reader of a connection waits for ownership when somebody else has it, since its bytes must go in: it pushes its own node and parks.
// An owner that finds the reader's node does not let go but hands over: the word stays owned, grant_ goes to kGranted, the reader is
// readied. grant_ is 0 → g* (reader's park commit) → kGranted (owner), or 0 → kGranted if the owner was faster; the commit then fails and
// the reader goes on at once.
#pragma once
#include <atomic>
#include <cstdint>

#include "runtime/sched/park.h"
#include "server/http2/stream.h"

namespace warren::http2 {

class owner_word {
 public:
  owner_word() = default;
  owner_word(const owner_word&) = delete;
  owner_word& operator=(const owner_word&) = delete;

  // For a connection that is being started: the caller owns it. REQUIRES: nobody else knows the connection yet.
  void own_first() noexcept { word_.store(kOwned, std::memory_order_relaxed); }

  // true: the word was free, and the caller is the owner now.
  bool try_own() noexcept {
    uintptr_t seen = kFree;
    return word_.load(std::memory_order_relaxed) == kFree &&
           word_.compare_exchange_strong(seen, kOwned, std::memory_order_acquire, std::memory_order_relaxed);
  }

  // true: the caller is the owner now, and n is not queued. false: n is queued.
  bool enqueue(node& n) noexcept {
    uintptr_t seen = word_.load(std::memory_order_relaxed);
    for (;;) {
      if (seen == kFree) {
        if (word_.compare_exchange_weak(seen, kOwned, std::memory_order_acquire, std::memory_order_relaxed)) return true;
        continue;
      }
      n.next = seen == kOwned ? nullptr : reinterpret_cast<node*>(seen);
      if (word_.compare_exchange_weak(seen, reinterpret_cast<uintptr_t>(&n), std::memory_order_release, std::memory_order_relaxed)) {
        return false;
      }
    }
  }

  // Owner: the chain of what is queued, latest first; nullptr: nothing. Nodes have no order among each other.
  node* take() noexcept {
    if (word_.load(std::memory_order_relaxed) == kOwned) return nullptr;
    return reinterpret_cast<node*>(word_.exchange(kOwned, std::memory_order_acquire));
  }

  // Owner: lets go unless something is queued.
  bool leave() noexcept {
    uintptr_t owned = kOwned;
    return word_.compare_exchange_strong(owned, kFree, std::memory_order_release, std::memory_order_relaxed);
  }

  // Reader: parks until it owns.
  void acquire(node& reader) {
    if (!enqueue(reader)) wait_grant();
  }

  // Reader, whose node is queued: parks until grant().
  void wait_grant() {
    rt::gopark(
        [](rt::g* self, void* arg) {
          uintptr_t none = 0;
          // Release: the owner's goready must find our context saved. A failure means the grant is there already.
          return static_cast<owner_word*>(arg)->grant_.compare_exchange_strong(none, reinterpret_cast<uintptr_t>(self),
                                                                               std::memory_order_acq_rel, std::memory_order_acquire);
        },
        this, rt::wait_reason::other);
    grant_.store(0, std::memory_order_relaxed);  // next used by the reader alone, until it queues again
  }

  // Owner that has seen the reader's node: the reader owns from now on.
  void grant() noexcept {
    // acq_rel: the reader sees the session as we leave it; we see the g it published.
    const uintptr_t waiting = grant_.exchange(kGranted, std::memory_order_acq_rel);
    if (waiting != 0) rt::goready(reinterpret_cast<rt::g*>(waiting));
  }

 private:
  static constexpr uintptr_t kFree = 0;
  static constexpr uintptr_t kOwned = 1;
  static constexpr uintptr_t kGranted = 1;

  std::atomic<uintptr_t> word_{kFree};
  std::atomic<uintptr_t> grant_{0};  // the reader's wait: 0, its g*, or kGranted
};

}  // namespace warren::http2

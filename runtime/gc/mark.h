// Marking: from a word to the object it points to, from an object to the words in it.
//
// A marker is one participant: a worker, an assisting goroutine, a thread that empties its barrier buffer, the one who has stopped the
// world. Any number work at once; what makes an object grey is the one atomic change of its mark bit, and whoever made it queues the object
// (in its own queue, which overflows into the pool that all share).
//
// Every word is judged alike, whether it comes from a stack, a root or a typed slot: it may be anything; only an address in a slot that
// was allocated when the marking began marks, any address inside the slot does, and an address in another slot, in a span's unused tail or
// in a page without a span does nothing (gc.md I2: marking free memory would be a zombie at the sweep; mspan.h says what is known of a
// slot).
//
// Nearly all the time of marking a large heap is spent waiting for memory: an object's bits, its map, its words are seldom in a cache. So
// drain() works on many at once. An address found in a typed slot goes into a ring of `edges` when the cache lines of the object's bits
// have been asked for, and is judged when it comes out; an object taken from the queue goes into a ring of `objects` when its words and its
// map have been asked for, and is scanned when it comes out. From the address to the bits there is no memory to wait for (page_word.h).
// An edge is not one slot but a group of 64, and a word into the group of the edge before it joins that: what was made one after the other
// lies side by side, and a locked instruction for each object costs as much as the rest of its marking. (binary_trees/16: a tenth of the
// processor time of the whole program.) The queue itself stays a stack: depth first, it is short. OCaml's collector does this in front of
// its mark stack with one ring (gc.md §4), as its mark bits lie in the objects. Rejected: to ask for memory when an object is pushed only.
// The stack returns it at once, or much later.
//
// What is queued: objects (queue_), or pages (pages_), as the heap is set up (WARREN_GCMARK). Pages are Go's Green Tea (gc.md §4): who
// greys an object of a span of one page queues the page, unless it waits already. A page waits in order of age, and gathers marks
// meanwhile; when its turn comes, everything that is marked there and not yet scanned is scanned at once, in the order of addresses. The
// page's words, map and bits then come from memory once instead of once for each object. Objects of longer spans are queued one by one in
// either case.
//
//   greys      set the mark bit;  page waits? no: set that, queue it
//   scans      page waits no longer;  read the mark bits;  claim those without a scan bit, by setting it;  scan their objects
// Either the one who greys sees that the page no longer waits, and queues it again, or the one who scans sees the mark (both sequentially
// consistent: tests/interleave/page_test.cpp). An object is scanned by who set its scan bit, or by who found it from within its page. Scan
// bits are cleared by the sweep. The mark bits of objects made meanwhile are not looked at: their alloc bits are not set until their span
// is full, and what is scanned for nothing after that is little.
//
// A page too waits, behind a few others, until its memory has come; then it is scanned with all that is white in it and found there
// (page_closure.h). If of late most pages have led on to the larger part of themselves, all of it is asked for, else the lines of what is
// grey already: to ask for all makes marking nodes that are linked at random a third slower; not to ask, a tree a fifth. A page with one
// grey object, and objects of more than 512 bytes, go through the ring of `objects`; what such a one points to in its own page is followed
// likewise. An object that is found while nothing else is grey does not wait in its page, but is claimed and scanned at once: a list is
// marked object by object.
//
// What is queued object by object goes before any page, though others share that queue and to look there is a read of their cache line:
// while it is worked off, the pages gather. The other way round, pages that had gathered hundreds of objects were followed by millions of
// visits to pages that had found one each. Processor time of one collection of 1 GB, bench_gc, the range of some rounds on a shared
// machine:
//                                          mark_rate               mark_scattered
//   objects                                1.50–1.69 s             2.42–2.84 s
//   pages, portable                        0.90–1.57 s             1.49–1.80 s
//   pages, avx512                          0.86–1.00 s             1.44–1.61 s
//   pages before objects, as it was        2.20–2.80 s
// (binary_trees/21, of short lives: the same within the noise.) So pages are the default where there is that kernel, and objects
// elsewhere, until somebody measures it there.
//
// Large objects are scanned in pieces (oblets), so that one array does not keep one participant busy while the others have nothing: the
// entry that is the object's address is its first piece, and whoever takes that queues the others.
#pragma once
#include <cstddef>
#include <cstdint>

#include "runtime/gc/page_closure.h"
#include "runtime/gc/work_pool.h"
#include "runtime/heap/mheap.h"

namespace warren::rt {

// Go's maxObletBytes: at 1 GB/s 128 µs.
inline constexpr size_t kObletBytes = WARREN_CAPACITY(size_t{128} * 1024, size_t{4} * 1024);

class marker {
 public:
  marker(mheap& h, work_pool& pool) noexcept
      : heap_(h), by_page_(h.scan_by_page()), kernel_(kernel_of(h.kernel())), queue_(pool), pages_(pool), led_on_(pool.led_on) {}

  // Greys the object the word points into, if it is white. True if it was.
  bool mark_word(uintptr_t word) noexcept;
  // Every aligned word in [lo, hi): memory of a running program, not of ours. Not instrumented: it reads frames with their red zones.
  void mark_range(const void* lo, const void* hi) noexcept;
  // Until no object is grey in this queue or the pool, or about `work` bytes were scanned. Returns the bytes.
  uint64_t drain(uint64_t work = ~uint64_t{0}) noexcept;
  // What is queued goes to the pool. To be done before this participant parks or its bracket ends.
  void flush() noexcept {
    queue_.flush();
    pages_.flush();
  }

  // What this marker made grey or black, and what it has scanned of the heap, since it was made or last asked.
  uint64_t bytes = 0, objects = 0, scanned = 0;

 private:
  struct edge;
  struct in_flight;
  bool find_small(uintptr_t word, edge* e) const noexcept;
  uint64_t grey(const edge& e) noexcept;
  void queue(const edge& e, uint64_t slots) noexcept;
  uint64_t claim(const edge& e, uint64_t slots) const noexcept;
  bool settle(const edge& e) noexcept;
  void settle_alone(const edge& e, uint32_t most, in_flight& f) noexcept;
  bool mark_large(uintptr_t word) noexcept;
  void take_word_near(uintptr_t word, uintptr_t from, edge& home, in_flight& f) noexcept;
  void begin_scan(uintptr_t entry, in_flight& f) noexcept;
  size_t scan(uintptr_t entry, in_flight& f) noexcept;
  void take_word(uintptr_t word, in_flight& f) noexcept;
  size_t begin_scans(const uint64_t* grey, uintptr_t at, const slot_shape& shape, in_flight& f) noexcept;
  size_t scan_page(uintptr_t at, in_flight& f) noexcept;
  grey_page page_of(uintptr_t at, uint8_t span_class) const noexcept;
  size_t scan_gathered(grey_page& p, in_flight& f) noexcept;
  size_t scan_home(const edge& home, in_flight& f) noexcept;

  mheap& heap_;
  const bool by_page_;
  gather_words* const kernel_;
  mark_queue queue_;
  page_queue pages_;
  std::atomic<uint32_t>& led_on_;
};

}  // namespace warren::rt

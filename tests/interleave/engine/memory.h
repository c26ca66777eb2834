// The memory as the checker models it: what a load may return, and what happens before what.
//
// Every atomic variable has the list of all values that were ever stored to it (its modification order, oldest first). Every thread has a
// view: for each variable the oldest entry it may still read. A store appends an entry; a load may return any entry from the view's on;
// reading one moves the view there (coherence). So a thread can read an old value as long as nothing has told it of a newer one. What
// tells it, is synchronisation: a release store leaves the thread's view in its entry, an acquire load that reads the entry takes it over.
// The view contains a vector clock, too: an access of a plain variable that is not covered by the clock of the thread that accesses it next
// is a data race. (The construction is known from Kang et al., "A promising semantics for relaxed-memory concurrency", POPL 2017, without
// the promises; loom and relacy work in the same spirit.)
//
//   relaxed load       keeps the entry's view aside (acq_); an acquire fence takes over all that was kept aside
//   relaxed store      leaves the view of the thread's last release fence (rel_)
//   read-modify-write  reads the newest entry, and its own entry inherits what that one carried (release sequence)
//   seq_cst            one view S for all: a seq_cst load of x reads nothing older than S says, every seq_cst access of x moves S there; a
//                      fence takes S over and moves S to all that its thread has seen. S's order is the order of execution. This is
//                      [atomics.order]/4 of C++20, given that coherence-ordered-before follows the order of execution.
//   membarrier         a full fence in every thread, one after the other, with steps of others between; unlike C++'s fences it orders plain
//                      variables both ways, as the kernel's documentation promises for accesses in program order
//   futex              the system call is a full fence on either side (the kernel's lock of the queue); the load of FUTEX_WAIT may return
//   an
//                      old value if that fence permits it
//
// Sound: what is reported can happen under C++20's rules (and if memory_model::x86 reports it, nearly always on x86, see below).
// Not complete, apart from the bounds:
//   - A load never sees a store that is executed later (load buffering: r1 = x; y = 1 || r2 = y; x = 1 with both 1). Hardware that has it
//     does so for relaxed accesses only.
//   - A store is always appended: two threads that store x,y and y,x cannot both find their first store overwritten (2+2W).
//   - Orders of seq_cst operations that contradict the order of execution are not looked at; C++20 allows some, for mixed programs.
//   - Compilers: what may be reordered by the language and not by a processor is seen only as far as relaxed loads show it.
//   - Accesses of one variable with different sizes are not understood.
// x86 is approximated from the weak side: views allow two readers to see two writers' stores in different orders, which x86 does not.
#pragma once
#include <cstdint>
#include <vector>

#include "interleave.h"

namespace interleave {

inline constexpr int kMaxThreads = 32;
inline constexpr int kMaxLocations = 1024;

using source_place = const void*;  // return address of the access

// What an entry or an event carries: a clock and a view, of the size that was needed when it was made.
struct baggage {
  uint32_t threads = 0, locations = 0;
  uint32_t* clock = nullptr;
  uint32_t* seen = nullptr;
};

class memory {
 public:
  memory();
  memory(const memory&) = delete;

  // A new execution, with thread 0 alone.
  void reset(memory_model model);
  int fork(int parent);  // a new thread that has seen what parent has
  void join(int into, int from);

  // --- atomic accesses. place: for reports. ---
  uint64_t load(int t, uintptr_t address, int size, int order, source_place place);
  void store(int t, uintptr_t address, int size, uint64_t value, int order, source_place place);
  // new value = change(old, operand)
  uint64_t modify(int t, uintptr_t address, int size, int order, source_place place, uint64_t (*change)(uint64_t, uint64_t),
                  uint64_t operand);
  bool compare_exchange(int t, uintptr_t address, int size, uint64_t* expected, uint64_t desired, int order, int failure, bool weak,
                        source_place place);
  void fence(int t, int order);
  void full_fence(int t, bool orders_plain);  // membarrier's and the kernel's
  void begin_membarrier(int t);
  void end_membarrier(int t);

  // --- plain accesses ---
  void plain(int t, uintptr_t address, size_t size, bool write, source_place place);
  void freed(int t, uintptr_t address, size_t size, source_place place);

  // --- events of the model ---
  void* carry(int t);                        // the thread's view, for whoever receives it
  void receive(int t, const void* carried);  // takes it over

  // Would a switch before an access of this variable make a difference? No as long as one thread uses it, or all only read it. The answer
  // is learned: news() says that an execution has made it yes for a variable for which it was no before.
  bool is_shared(uintptr_t address) const;
  bool news() const noexcept { return news_; }
  void forget_shared();

  uint64_t stores() const noexcept { return stores_; }
  bool read_newest(int t) const noexcept { return last_was_newest_[t]; }
  uint32_t variable_number(uintptr_t address) const;  // 0: none

 private:
  struct view {
    uint32_t clock[kMaxThreads];
    uint32_t seen[kMaxLocations];
  };
  struct entry {
    uint64_t value;
    const baggage* with;  // nullptr: nothing
  };
  struct location {
    uintptr_t address;
    int size;
    std::vector<entry> entries;
    uint32_t written[kMaxThreads];  // clocks of the last atomic write and read by each thread: for races with plain accesses
    uint32_t read[kMaxThreads];
    int first_user;  // 0: nobody after setup
    bool several, changed;
  };
  struct access {  // a plain access that may still race with what comes
    uint32_t clock;
    uint8_t thread;
    uint8_t bytes;  // mask within the granule
    bool write;
    source_place place;
  };
  struct granule {  // eight bytes
    uintptr_t key = 0;
    uint64_t execution = 0;
    uint8_t accesses = 0;
    uint8_t locations = 0;  // mask of offsets where an atomic begins
    bool freed = false;
    source_place freed_at = nullptr;
    access list[12];
    uint16_t location[8];
  };

  granule& granule_of(uintptr_t address);
  location& location_of(int t, uintptr_t address, int size, source_place place);
  uint32_t index(const location& l) const noexcept { return static_cast<uint32_t>(&l - locations_.data()); }
  void used(int t, location& l, bool write);
  void touch(int t, location& l, bool write, source_place place);
  uint32_t oldest_readable(int t, uint32_t l, int order) const noexcept;
  void read_entry(int t, location& l, uint32_t which, int order);
  void append(int t, location& l, uint64_t value, int order, const baggage* inherited);
  int as_load(int order) const noexcept;
  int as_store(int order) const noexcept;
  bool tso() const noexcept { return model_ == memory_model::x86; }
  void join(view& into, const view& from) noexcept;
  void join(view& into, const baggage& from) noexcept;
  const baggage* pack(const view& v, const baggage* also);
  uint32_t* words(size_t n);
  void tick(int t) noexcept { ++current_[t].clock[t]; }
  [[noreturn]] void race(int t, bool write, const char* kind, source_place place, int other, bool other_write, const char* other_kind,
                         source_place other_place, uintptr_t address);

  memory_model model_ = memory_model::cxx20;
  int threads_ = 1;
  uint32_t count_ = 0;  // locations in use
  uint64_t execution_ = 0;
  uint64_t stores_ = 0;
  bool news_ = false;
  std::vector<location> locations_;
  std::vector<view> current_, acq_, rel_;
  std::vector<bool> has_rel_;
  view sc_;
  bool last_was_newest_[kMaxThreads] = {};
  std::vector<granule> table_;
  std::vector<uintptr_t> shared_;  // open addressing, 0: empty
  std::vector<uint32_t*> blocks_;
  size_t block_ = 0, used_ = 0;
};

}  // namespace interleave

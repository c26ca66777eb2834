// The collector seen from outside: run it, tune it, read what it did.
//
// Environment, read once when the heap is made:
//   WARREN_GOGC, GOGC      heap growth in percent that starts a collection (100), "off" for none
//   WARREN_MEMLIMIT, GOMEMLIMIT   the memory limit in bytes or with B, KiB, MiB, GiB, TiB; "off" for none (nine tenths of the cgroup's
//                          limit, else none)
//   WARREN_GCMODE          hybrid (the default), dijkstra, yuasa, stw: how it marks (runtime/gc/collector.h)
//   WARREN_GCMARK          objects, or pages (the default with AVX-512): in what order (runtime/gc/mark.h)
//   WARREN_GCKERNEL        portable, or avx512 (the default where there is one): how a page is gathered (runtime/gc/grey_page.h)
//   WARREN_HEAP_RESERVE    address space of the heap, with suffix K, M, G or T (512G); halved down to 1 GiB until the system grants it
//   WARREN_GCCHECKMARK=1   after each marking mark once more by other code and compare
//   WARREN_GCRESCAN=1      at the end of each marking scan all stacks again, and report what only that finds
//   WARREN_GCSTRESS=N      collect at every Nth allocation
//   WARREN_GCPOISON=1      fill what is swept with 0xdb
//   WARREN_CHECKPTR=1      check on every store that a ptr lives in the heap or on a goroutine's stack (always on in debug builds)
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace warren {

// What started a collection. Allocations are told apart by the size of the one that met the full heap.
enum class gc_trigger : uint8_t {
  background,  // two minutes without one
  manual,      // gc() or collect()
  tiny,        // < 16 bytes without pointers
  small,       // up to 32 KiB
  large,
};
inline constexpr size_t kGcTriggers = 5;
inline constexpr size_t kGcModes = 4;
const char* to_string(gc_trigger t) noexcept;

// What one collection did. Sizes in bytes, times in nanoseconds. "Freed" means found unreachable: the memory itself comes back as spans are
// swept.
struct gc_report {
  uint64_t cycle = 0;  // number of this collection, from 1
  gc_trigger trigger = gc_trigger::manual;
  uint64_t bytes_before = 0, objects_before = 0;
  uint64_t bytes_marked = 0, objects_marked = 0;  // reachable; what is left after it
  uint64_t bytes_freed = 0, objects_freed = 0;
  uint64_t bytes_after = 0, objects_after = 0;
  uint64_t stack_bytes = 0;  // scanned conservatively
  uint64_t root_words = 0;   // cells of root<T> and registered ranges
  uint64_t finalizers_queued = 0;
  uint64_t cleanups_queued = 0;
  uint64_t bytes_made = 0, objects_made = 0;  // while it marked; all of it is kept, and counts as marked
  uint64_t bytes_scanned = 0;                 // of objects with pointers
  uint64_t rounds = 0;                        // times the world was stopped to end the marking and there was more to mark
  uint64_t objects_rescanned = 0;             // marked by scanning stacks while the world stood
  uint64_t rescan_found = 0;                  // with WARREN_GCRESCAN: what only the second scan of all stacks has found
  uint64_t checkmark_doubtful = 0;            // with WARREN_GCCHECKMARK: unmarked objects that something looking like a pointer led to
  int64_t stop_ns = 0;                        // from the requests until the world stood
  int64_t sweep_termination_ns = 0, mark_ns = 0, mark_termination_ns = 0;
  int64_t pause_ns = 0;  // the world stood still: the sum of
  uint64_t pauses = 0;
  int64_t pause_max_ns = 0;
  int64_t worker_ns = 0, assist_ns = 0,
          idle_ns = 0;   // of processors: background workers, goroutines that allocated, processors without work
  int64_t sweep_ns = 0;  // after it, in collect() itself
};

// Runs a whole collection, sweeping included, and returns when it is over. On a goroutine, which parks meanwhile; the others run, except in
// mode stw. The collection begins after the call; one may serve several callers.
void gc();
gc_report collect();

// Growth of the heap over what the last collection left, in percent, at which the next starts. Negative: never. Returns the former value.
// Any thread.
int set_gc_percent(int percent) noexcept;

// The most memory the runtime should use, in bytes. Returns the former value; a negative argument only asks, INT64_MAX (the value when
// there is none) lifts the limit. Any thread.
//
// Near the limit collections become more frequent than set_gc_percent asks for (and take place though it says never), and memory of free
// pages is given back to the system, by who allocates if need be. The limit is soft: where what lives exceeds it the program goes on, with
// up to half of the processors' time spent on collections, and standard error says so (gc_stats::limit_missed counts).
//
// What counts (gc_stats::memory_bytes): pages of the heap, in use or free, that the system has not got back; the heap's tables, as if they
// were all touched; 8 KiB for each stack, in use or free, of which it has not got the memory back; what external_bytes was told of. What
// does not: other memory of malloc and mmap in the program and its libraries (std::string, protobuf, TLS), code, static data, stacks of
// threads, stacks beyond 8 KiB, the marker's queue.
int64_t set_memory_limit(int64_t bytes) noexcept;

// Tells the collector of memory that collected objects own and that it does not see: of malloc, mmap, a library. Positive when it has come,
// negative when it has gone; in all as much gone as came, by the destructors and cleanups of the objects. It counts as heap when it is
// decided when the next collection begins, so that small objects with much behind them do not pile up, and against the memory limit. Near
// the limit collections become more frequent on its account, too; they free it only where the destructors of dead objects give it back. If
// what is behind live objects exceeds the limit, a collection begins each time that another thirty-second part has come, of heap or
// external memory, and no more often. Unlike who allocates from the heap, who adds external memory is not made to help or wait. An object
// that owns a std::string of a megabyte:
//
//   blob(std::string s) : text(std::move(s)) { warren::external_bytes(static_cast<int64_t>(text.capacity())); }
//   ~blob() { warren::external_bytes(-static_cast<int64_t>(text.capacity())); }
//
// Any thread; costs an addition that all threads share. On a goroutine, more of it may start a collection, as an allocation may. Never
// throws.
void external_bytes(int64_t change) noexcept;

// Collects, and gives the memory of all free pages of the heap and of all free stacks back to the system. Returns how many bytes it has
// given back. On a goroutine. Rarely of use: the runtime does as much by itself, slowly.
uint64_t free_os_memory();

// Counts by the power of two: bucket i holds values in [2^i, 2^(i+1)) nanoseconds, bucket 0 also 0.
struct pause_histogram {
  static constexpr size_t kBuckets = 40;
  std::array<uint64_t, kBuckets> count{};
};

// Collections since the start of the process.
struct gc_stats {
  uint64_t cycles = 0;
  std::array<uint64_t, kGcTriggers> by_trigger{};  // index: gc_trigger
  std::array<uint64_t, kGcModes> by_mode{};        // index: stw, dijkstra, yuasa, hybrid
  uint64_t forced() const noexcept { return by_trigger[static_cast<size_t>(gc_trigger::manual)]; }
  int64_t pause_last_ns = 0, pause_total_ns = 0, pause_max_ns = 0;
  pause_histogram pauses;  // each stop of the world by itself
  uint64_t pause_count = 0;
  std::array<int64_t, 256> recent_pauses_ns{};                                           // pause i is at i % 256, i < pause_count
  uint64_t rounds = 0, objects_rescanned = 0, rescan_found = 0, checkmark_doubtful = 0;  // sums of those of gc_report
  int64_t sweep_termination_ns = 0, mark_ns = 0, mark_termination_ns = 0, worker_ns = 0, assist_ns = 0, idle_ns = 0;  // likewise
  uint64_t assists = 0, assists_by_credit = 0;  // times an allocation owed marking; and that of these, that workers had done it already
  uint64_t limited = 0;                         // times assists became free, since marking took half of the processors' time
  bool limiting = false;                        // they are free now
  int64_t limit_bytes = INT64_MAX;              // the memory limit; INT64_MAX: none
  uint64_t memory_bytes = 0;                    // what counts against it (set_memory_limit)
  uint64_t stack_memory_bytes = 0;              // of that: stacks, estimated
  uint64_t limit_missed = 0;                    // collections that found more alive than the limit allows
  uint64_t goal_bytes = 0;                      // heap size at which the next collection should end
  int64_t last_end_unix_ns = 0;                 // wall time; 0 before the first
  uint64_t next_bytes = 0;                      // heap size at which the next starts
  uint64_t finalizers_run = 0;
  uint64_t finalizers_waiting = 0;  // their object was found unreachable, they have not run
  uint64_t cleanups_run = 0;
  uint64_t cleanups_ready = 0;      // as finalizers_waiting
  uint64_t cleanups_waiting = 0;    // their object was reachable so far
  uint64_t weak_cells = 0;          // addresses that some weak<T> knows
  uint64_t weak_cells_cleared = 0;  // so far, since their object was gone
  int percent = 100;
  gc_report last;
};

// The heap now. Counters only grow. Taken without stopping anybody: figures of goroutines that allocate meanwhile may lag by a few objects.
struct heap_stats {
  uint64_t bytes = 0;                         // in allocated objects, their slots' rounding included; garbage counts until it is swept
  uint64_t objects = 0;                       // allocated and not swept (tiny objects count as the 16-byte blocks they share)
  uint64_t mallocs = 0, frees = 0;            // of such objects
  uint64_t tiny_mallocs = 0;                  // of tiny objects, one by one
  uint64_t total_bytes = 0;                   // ever allocated
  uint64_t spans_in_use = 0, span_bytes = 0;  // pages handed to spans
  uint64_t mapped_bytes = 0;                  // pages ever used; the high-water mark
  uint64_t reserved_bytes = 0;                // the reservation
  uint64_t idle_bytes = 0;                    // of these: in no span
  uint64_t released_bytes = 0;                // of idle_bytes: the system has their memory
  uint64_t released_bytes_total = 0;          // given back ever, that of stacks included
  uint64_t release_failures = 0;              // times the system refused to take some
  uint64_t external_bytes = 0;                // memory of others behind objects (warren::external_bytes)
  uint64_t metadata_bytes = 0;                // span descriptors, and tables as if they were all touched
  uint64_t sys_bytes = 0;                     // mapped_bytes and metadata_bytes; released ones count, as in Go

  // How far allocations had to go. Each level counts the requests it served by itself.
  uint64_t tiny_hits = 0;        // mcache: room in the tiny block
  uint64_t mcache_hits = 0;      // mcache: a free slot in the span at hand
  uint64_t mcentral_hits = 0;    // mcentral: a span with free slots
  uint64_t page_cache_hits = 0;  // a P's page cache: pages for a new span
  uint64_t mheap_hits = 0;       // page allocator: likewise
  uint64_t heap_grows = 0;       // the reservation: more pages
  uint64_t large_mallocs = 0;

  struct by_class {
    uint32_t size = 0;  // bytes of a slot; 0 for class 0, the large objects
    uint64_t mallocs = 0, frees = 0;
  };
  static constexpr size_t kMaxClasses = 80;
  std::array<by_class, kMaxClasses> classes{};
  size_t class_count = 0;
};

struct mem_stats {
  heap_stats heap;
  gc_stats gc;
};
// Any thread, any time; all zero before the heap was first used.
mem_stats read_mem_stats();

}  // namespace warren

// The arena of goroutine stacks.
//
// Address space. One reservation (MAP_NORESERVE, readable and writable, no huge pages: a huge page would back 32 stacks at the first touch
// of one) with a region per class. Nothing is ever unmapped or remapped. So the whole arena is a few kernel mappings (each region's slots
// made so far, which go into core dumps, and the rest, which does not) however many stacks there are, and "is this a stack, whose" is
// arithmetic.
//
// Free slots. Each region is an arena of the heap's page allocator (heap/page_arena.h) whose pages are slots: a bit says free, a second one
// that the system has the memory, a search finds the lowest. Lowest first keeps the region dense after a peak, and with it page tables and
// what a dump walks through. The memory of a free slot is not touched: no list runs through it, so it can be given back at any time, which
// the heap's scavenger does, at its pace, on demand, and for the memory limit.
//
// Why a page is a slot and not 8 KiB of one. Slots are aligned to their size; with pages of 8 KiB a slot would be a run of 8, 32 or 128 at
// an aligned place, which first fit does not look for, and a P's word of 64 pages would be eight stacks, or none. Nothing is ever made of a
// part of a slot, so its parts need no bits: 2 bits a stack and not 16 to 256. Rejected too: one page allocator over all classes, or over
// data and stacks. The class of an address is where it lies, which the overflow handler and every conservative word ask for.
//
// A slot's way. Where an ended goroutine's stack goes, and from where the next one comes, warmest first:
//   P's stack cache   goroutines that ended there, their stack with them, up to 64       sched/goroutine_pool.cpp   no lock
//   pool of a class   what Ps have too many of (normal: the pool by order; large and     sched/goroutine_pool.cpp   the pool's lock
//                     huge: the large pool), until nobody has needed it for ten seconds
//   P's page cache    normal only: the free slots of a group of 64, taken at once,       p::stack_pages             no lock
//                     until a collection empties it
//   region            first fit                                                          here                       the region's lock
//   growth            a batch of new slots, with guards                                  here                       the region's lock
// The larger classes have no page cache: it would put 64 of their slots aside for every P that has ever started one, 16 MiB or 64 MiB of
// address space and guards, in order to save the lock and a search, 0.12 µs (1100 instructions), beside the first touch of a new stack,
// which is a page fault, 1.7 µs.
//
// The memory limit. Who takes slots while heap and stacks have more resident than they may gives as much back before it goes on, as who
// takes pages of the heap does.
//
// Guards. A stack without a guard turns an overflow into a silent overwrite of a neighbour. An mprotect guard splits the mapping: two more
// per stack, and vm.max_map_count (65530) ends it at 32 707 stacks. MADV_GUARD_INSTALL (Linux 6.13) puts the guard into the page table and
// no mapping changes; through process_madvise 1024 guards cost one system call. A new slot costs 0.27 µs that way, 0.45 µs by single calls
// and 1.5 µs by mprotect (12 000 slots in a row on Linux 6.18, a virtual machine). Guards outlive reuse of the slot and MADV_DONTNEED, so
// each is installed once. What is there is found out by doing: install on the first page, have the kernel write there (EFAULT: it guards),
// remove, write again. (An emulator may accept any advice and do nothing: qemu-user does.) The ladder: vector_markers, markers, protection
// up to 40 % of vm.max_map_count, canary.
//
// Canary. A slot without a guard keeps the bytes below stack_low() unused; they are zero, since never-touched pages read as zero. The
// switch looks at the highest 128 of them. Zero rather than a magic number: looking maps the shared zero page, so it costs no memory, and
// who gives the memory back need not restore anything. It notices late, and only what wrote there: better than nothing, said once in the
// log.
//
// The guard's size. gcc's -fstack-clash-protection touches a large frame every so many bytes, so that no frame jumps over the guard: every
// 4 KiB on x86-64. On aarch64 gcc assumes 64 KiB guards and touches every 64 KiB; Debian's aarch64 libraries are not built with the flag at
// all, as on x86-64. A 64 KiB guard does not fit into a 64 KiB slot; doubling the slots would give it room, and would cost 16 page
// table entries per guard instead of 4, for the sake of foreign frames larger than 16 KiB. Decided: the guard is 16 KiB on aarch64 (it must
// be a whole number of pages, and kernels with 16 KiB pages exist), and warren's own code is compiled there with --param
// stack-clash-protection-guard-size=12 (cmake/aarch64-linux-gnu.cmake). Kernels with 64 KiB pages are refused with one line.
//
// Locking. The lock of a region's page_arena, a critical_mutex, held over the guards of a batch (0.3 ms for 1024 slots, 1.5 ms by
// mprotect), and not over a scavenger's system calls: what that holds is in use meanwhile. Nothing else is locked under it, and it is not
// taken under another but a scavenger's list of arenas. Who takes it: a P's owner on its g0, sysmon or a goroutine as scavenger in a
// critical section. No signal handler: they ask what address belongs to which slot, which no lock guards. Readers of statistics take no
// lock either. The P's caches keep it off the common path.
#include "runtime/stack/stack_arena.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>

#include "runtime/heap/scavenger.h"
#include "runtime/os/fatal.h"
#include "runtime/stack/switch_annotations.h"

namespace warren::rt {

namespace {

constexpr int kMadvGuardInstall = 102;  // MADV_GUARD_INSTALL and _REMOVE: newer than Debian 12's headers
constexpr int kMadvGuardRemove = 103;

constexpr size_t kFirstBatch = 16;      // a program with few goroutines makes few guards
constexpr size_t kLargestBatch = 1024;  // UIO_MAXIOV: the most that one process_madvise takes
// Guards of a batch touch a page table page per 2 MiB of address space: a batch of huge slots is limited by that.
constexpr size_t kLargestBatchBytes = size_t{64} * 1024 * 1024 * kStackScale;

constexpr size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// Does the kernel refuse to write there? Asked through a system call that fills a timespec: a fault becomes EFAULT, not a signal.
bool kernel_faults_at(std::byte* p) noexcept { return syscall(SYS_clock_gettime, CLOCK_MONOTONIC, p) != 0 && errno == EFAULT; }

// A descriptor of this process, opened for each batch: a kept one would, after a fork, mean the parent.
class self_pidfd {
 public:
#ifdef SYS_pidfd_open
  self_pidfd() : fd_(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0))) {}
#else
  self_pidfd() : fd_(-1) {}
#endif
  ~self_pidfd() {
    if (fd_ >= 0) close(fd_);
  }
  self_pidfd(const self_pidfd&) = delete;
  self_pidfd& operator=(const self_pidfd&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

// Installs guards at every range; returns how many of them, counted from the first, are in place.
size_t guard_vector(iovec* ranges, size_t n) noexcept {
#ifdef SYS_process_madvise
  const self_pidfd self;
  if (self.get() < 0) return 0;
  const long done = syscall(SYS_process_madvise, self.get(), ranges, n, kMadvGuardInstall, 0);
  return done < 0 ? 0 : static_cast<size_t>(done) / kStackGuard;
#else
  (void)ranges, (void)n;
  return 0;
#endif
}

bool guard_single(std::byte* p) noexcept { return madvise(p, kStackGuard, kMadvGuardInstall) == 0; }

// Installs a guard at the (unused) page by one of the two ways, looks whether it guards, removes it.
bool probe(std::byte* page, bool by_vector) noexcept {
  bool installed;
  if (by_vector) {
    iovec range{page, kStackGuard};
    installed = guard_vector(&range, 1) == 1;
  } else {
    installed = guard_single(page);
  }
  if (!installed) return false;
  const bool guards = kernel_faults_at(page);
  const bool removed = madvise(page, kStackGuard, kMadvGuardRemove) == 0 && !kernel_faults_at(page);
  madvise(page, kStackGuard, MADV_DONTNEED);
  return guards && removed;
}

size_t max_map_count() noexcept {
  size_t value = 65530;  // the kernel's default
  const int fd = open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return value;
  char text[32];
  const ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n > 0) {
    text[n] = 0;
    value = strtoul(text, nullptr, 10);
  }
  return value;
}

void* reserve(size_t bytes) noexcept {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? nullptr : p;
}

}  // namespace

const char* to_string(guard_mode m) noexcept {
  switch (m) {
    case guard_mode::automatic: return "automatic";
    case guard_mode::vector_markers: return "vector_markers";
    case guard_mode::markers: return "markers";
    case guard_mode::protection: return "protection";
    case guard_mode::canary: return "canary";
  }
  return "?";
}

stack_arena::stack_arena(const options& o) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  if (kStackGuard % page != 0) {
    fatal("pages of %zu bytes are larger than a stack guard (%zu): run on a kernel with smaller pages", page, kStackGuard);
  }

  // Regions begin at multiples of the largest slot, so every region is aligned to its own.
  constexpr size_t align = stack_slot_size(kStackClasses - 1);
  size_t wanted[kStackClasses];
  for (int c = 0; c < kStackClasses; ++c) wanted[c] = o.region_bytes[c];
  rlimit limit{};
  const bool limited = getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
  for (;;) {
    bytes_ = 0;
    for (int c = 0; c < kStackClasses; ++c) {
      regions_[c].capacity = round_up(wanted[c], stack_slot_size(c)) / stack_slot_size(c);
      start_[c] = bytes_;
      bytes_ += round_up(wanted[c], align);
    }
    start_[kStackClasses] = bytes_;
    mapping_bytes_ = bytes_ + align;
    // Of a limited address space a quarter at most: the heap wants the rest.
    if (!limited || mapping_bytes_ <= limit.rlim_cur / 4) mapping_ = reserve(mapping_bytes_);
    if (mapping_ != nullptr) break;
    bool smaller = false;
    for (int c = 0; c < kStackClasses; ++c) {
      if (wanted[c] > align) {
        wanted[c] = wanted[c] / 2 > align ? wanted[c] / 2 : align;
        smaller = true;
      }
    }
    if (!smaller) {
      fatal("no address space for goroutine stacks: %zu MiB refused; raise the limit (ulimit -v) or vm.overcommit_memory",
            mapping_bytes_ >> 20);
    }
  }
  base_ = round_up(reinterpret_cast<uintptr_t>(mapping_), align);
  madvise(mapping_, mapping_bytes_, MADV_NOHUGEPAGE);  // fails where there are no huge pages: just as well
  madvise(mapping_, mapping_bytes_,
          MADV_DONTDUMP);  // slots are put into core dumps as they are made: a dump would walk the rest for minutes

  for (int c = 0; c < kStackClasses; ++c) {
    metadata_bytes_ += round_up(regions_[c].capacity * (sizeof(uintptr_t) + sizeof(uint8_t)), sizeof(uintptr_t));
  }
  metadata_bytes_ = round_up(metadata_bytes_ + 1, page);
  metadata_ = reserve(metadata_bytes_);
  if (metadata_ == nullptr)
    fatal("no address space for the tables of stacks: %zu KiB refused; raise the limit (ulimit -v)", metadata_bytes_ >> 10);
  auto* at = static_cast<std::byte*>(metadata_);
  for (int c = 0; c < kStackClasses; ++c) {
    region& r = regions_[c];
    r.slots.emplace(page_arena::layout{.base = base_ + start_[c], .count = r.capacity, .stride = stack_slot_size(c)});
    r.annotation = reinterpret_cast<uintptr_t*>(at);
    r.guard_made = reinterpret_cast<uint8_t*>(r.annotation + r.capacity);
    r.next_batch = kFirstBatch;
    at += round_up(r.capacity * (sizeof(uintptr_t) + sizeof(uint8_t)), sizeof(uintptr_t));
  }

  protection_budget_ = o.protection_budget != 0 ? o.protection_budget : max_map_count() * 2 / 5 / 2;
  mode_ = o.forced == guard_mode::automatic ? guard_mode::vector_markers : o.forced;
  auto* first = reinterpret_cast<std::byte*>(base_);
  if (bytes_ != 0) {
    if (mode_ == guard_mode::vector_markers && !probe(first, true)) mode_ = guard_mode::markers;
    if (mode_ == guard_mode::markers && !probe(first, false)) mode_ = guard_mode::protection;
  }
  if (mode_ == guard_mode::canary) {
    protection_budget_ = 0;
    if (o.forced == guard_mode::canary) unguarded_reported_ = true;  // whoever asked for it knows
  }
}

stack_arena::~stack_arena() {
  for (region& r : regions_) {
    if (scavenger_ != nullptr) scavenger_->remove(*r.slots);
#if WARREN_TSAN || WARREN_VALGRIND
    for (size_t i = 0; i < r.slots->grown(); ++i) {
      if (r.annotation[i] == 0) continue;
#if WARREN_TSAN
      __tsan_destroy_fiber(reinterpret_cast<void*>(r.annotation[i]));
#else
      VALGRIND_STACK_DEREGISTER(r.annotation[i] - 1);
#endif
    }
#endif
  }
  // ASan's poison of frames that never returned must not outlive the memory.
  for (int c = 0; c < kStackClasses; ++c) annotate_stack_reuse(slot_at(c, 0), regions_[c].slots->grown() * stack_slot_size(c));
  munmap(mapping_, mapping_bytes_);
  munmap(metadata_, metadata_bytes_);
}

void stack_arena::install_guards(int cls, region& r, size_t first, size_t n) noexcept {
  size_t done = 0;
  if (mode_ == guard_mode::vector_markers) {
    iovec ranges[kLargestBatch];
    for (size_t i = 0; i < n; ++i) ranges[i] = {slot_at(cls, first + i), kStackGuard};
    done = guard_vector(ranges, n);
    std::fill_n(r.guard_made + first, done, uint8_t{1});
  }
  for (size_t i = done; i < n; ++i) {
    std::byte* slot = slot_at(cls, first + i);
    if (mode_ <= guard_mode::markers && guard_single(slot)) {
      r.guard_made[first + i] = 1;
      continue;
    }
    // Regions grow side by side and share the budget.
    size_t left = protection_budget_.load(std::memory_order_relaxed);
    while (left > 0 && !protection_budget_.compare_exchange_weak(left, left - 1, std::memory_order_relaxed)) {
    }
    if (left > 0 && mprotect(slot, kStackGuard, PROT_NONE) == 0) {
      r.guard_made[first + i] = 1;
      continue;
    }
    r.unguarded.fetch_add(1, std::memory_order_relaxed);
  }
  if (r.unguarded.load(std::memory_order_relaxed) != 0 && !unguarded_reported_.exchange(true, std::memory_order_relaxed)) {
    print_error(
        "warren: goroutine stacks have no guard pages from now on (%s mode exhausted): overflows are noticed late; "
        "raise vm.max_map_count or use Linux 6.13 or later\n",
        to_string(mode_));
  }
}

void stack_arena::set_scavenger(scavenger& s) noexcept {
  scavenger_ = &s;
  for (region& r : regions_) s.add(*r.slots);
}

// REQUIRES: r.slots->lock held.
bool stack_arena::grow(int cls, region& r) noexcept {
  const size_t first = r.slots->grown();
  const size_t n = std::min(r.next_batch, r.capacity - first);
  if (n == 0) return false;
  madvise(slot_at(cls, first), n * stack_slot_size(cls), MADV_DODUMP);
  install_guards(cls, r, first, n);
  r.slots->grow(first, n);
  const size_t largest = std::min(kLargestBatch, kLargestBatchBytes / stack_slot_size(cls));
  r.next_batch = std::min(r.next_batch * 2, largest);
  return true;
}

// from(pages) takes what there is and says whether it was enough. False: nor was it after all has been tried.
template <class F>
bool stack_arena::take(int cls, F&& from) noexcept {
  region& r = regions_[cls];
  page_arena& slots = *r.slots;
  const std::lock_guard guard(slots.lock);
  bool enough;
  while (!(enough = from(slots.pages))) {
    if (grow(cls, r)) continue;
    if (slots.held == 0) break;
    // What is missing may be in the scavenger's hands, for a moment.
    slots.lock.unlock();
    sched_yield();
    slots.lock.lock();
  }
  slots.publish();
  return enough;
}

void stack_arena::keep_limit(size_t slots) noexcept {
  if (scavenger_ != nullptr && scavenger_->resident_bytes() > scavenger_->limit()) scavenger_->give_back(slots * kPageSize);
}

size_t stack_arena::allocate(int cls, std::byte** out, size_t n) noexcept {
  size_t got = 0;
  take(cls, [&](page_alloc& pages) {
    for (; got < n; ++got) {
      const size_t number = pages.alloc(1);
      if (number == page_alloc::kNone) return false;
      out[got] = slot_at(cls, number);
    }
    return true;
  });
  keep_limit(got);
  return got;
}

page_cache stack_arena::allocate_group(int cls) noexcept {
  page_cache group;
  take(cls, [&](page_alloc& pages) { return !(group = pages.alloc_to_cache()).empty(); });
  keep_limit(static_cast<size_t>(__builtin_popcountll(group.free_bits())));
  return group;
}

void stack_arena::release_group(int cls, page_cache& group) noexcept {
  page_arena& to = *regions_[cls].slots;
  const std::lock_guard guard(to.lock);
  group.flush(to.pages);
  to.publish();
}

void stack_arena::release(int cls, std::byte** slots, size_t n) noexcept {
  page_arena& to = *regions_[cls].slots;
  const std::lock_guard guard(to.lock);
  // Goroutines that began together end together: neighbours are freed by the word.
  for (size_t i = 0; i < n;) {
    const size_t group = number_of(cls, slots[i]) / 64;
    uint64_t bits = 0;
    for (; i < n && number_of(cls, slots[i]) / 64 == group; ++i) bits |= uint64_t{1} << (number_of(cls, slots[i]) % 64);
    to.pages.free_bits(group * 64, bits, 0);
  }
  to.publish();
}

bool stack_arena::guarded(const std::byte* slot) const noexcept {
  const int c = class_of(slot);
  return regions_[c].guard_made[number_of(c, slot)] != 0;
}

void* stack_arena::sanitizer_fiber([[maybe_unused]] std::byte* slot) noexcept {
#if WARREN_TSAN || WARREN_VALGRIND
  const int c = class_of(slot);
  uintptr_t& mark = regions_[c].annotation[number_of(c, slot)];
#if WARREN_TSAN
  if (mark == 0) mark = reinterpret_cast<uintptr_t>(__tsan_create_fiber(0));
  return reinterpret_cast<void*>(mark);
#else
  if (mark == 0) mark = VALGRIND_STACK_REGISTER(stack_low(slot), slot + stack_slot_size(c) - 1) + 1;  // ids begin at 0
#endif
#endif
  return nullptr;
}

stack_arena::statistics stack_arena::stats() const noexcept {
  statistics s{};
  for (int c = 0; c < kStackClasses; ++c) {
    const region& r = regions_[c];
    s.slots_capacity[c] = r.capacity;
    s.slots_idle[c] = r.slots->idle();
    s.slots_released[c] = r.slots->released();
    s.slots_made[c] = std::max(r.slots->grown(), s.slots_idle[c] + s.slots_released[c]);  // read apart
    s.given_back += r.slots->given_back();
    s.slots_unguarded += r.unguarded.load(std::memory_order_relaxed);
  }
  s.mode = mode_;
  return s;
}

}  // namespace warren::rt

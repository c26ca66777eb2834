#include "runtime/sched/newborn_pool.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <mutex>
#include <new>

#include "runtime/os/fatal.h"
#include "runtime/sched/p.h"

namespace warren::rt {

namespace {
constexpr uint32_t kPerP = WARREN_CAPACITY(512, 4);  // a P keeps at most twice so many, and gives half away beyond
constexpr uint32_t kMostSlabs = 1u << 17;            // 67 million newborns in 8 GiB of address space
constexpr uint32_t kLeastSlabs = 1u << 7;            // where that is short: 65536
constexpr size_t kAlwaysKept = size_t{8} * 1024;     // 1 MiB that trim leaves in any case
}  // namespace

newborn_pool::newborn_pool() {
  rlimit limit{};
  const bool limited = getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
  for (capacity_ = kMostSlabs;; capacity_ /= 2) {
    if (capacity_ < kLeastSlabs)
      fatal("no address space for %u newborn goroutines: %zu MiB refused; raise the limit (ulimit -v)", kLeastSlabs * kSlabNewborns,
            mapping_bytes_ >> 20);
    const size_t slabs = capacity_ * kSlabBytes;
    mapping_bytes_ = slabs + capacity_ * (sizeof(uint32_t) + sizeof(uint16_t));
    if (limited && mapping_bytes_ > limit.rlim_cur / 32 && capacity_ > kLeastSlabs) continue;
    void* at = mmap(nullptr, mapping_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) continue;
    base_ = static_cast<std::byte*>(at);
    given_back_ = reinterpret_cast<uint32_t*>(base_ + slabs);
    free_here_ = reinterpret_cast<uint16_t*>(given_back_ + capacity_);
    break;
  }
  madvise(base_, mapping_bytes_, MADV_NOHUGEPAGE);  // so that a slab can be given back alone
}

newborn_pool::~newborn_pool() {
  for_each([](detail::newborn& nb) {
    if (nb.borrowed) return;
    if (nb.constructed) nb.type->destroy(nb.closure);
    if (nb.closure != nb.storage) ::operator delete (nb.closure, std::align_val_t{nb.type->align});
  });
  munmap(base_, mapping_bytes_);
}

detail::newborn* newborn_pool::get(p* pp) {
  if (pp->free_newborns == nullptr) {
    const std::lock_guard guard(lock_);
    while (free_ != nullptr && pp->free_newborn_count < kPerP / 2) {
      detail::newborn* nb = free_;
      free_ = static_cast<detail::newborn*>(nb->next);
      --free_count_;
      nb->next = pp->free_newborns;
      pp->free_newborns = nb;
      ++pp->free_newborn_count;
    }
    least_free_ = std::min(least_free_, free_count_);
    if (pp->free_newborns == nullptr) {
      if (given_back_count_ == 0 && made_ == capacity_) throw std::bad_alloc();
      detail::newborn* items = slab(given_back_count_ > 0 ? given_back_[--given_back_count_] : made_++);
      for (uint32_t i = kSlabNewborns; i-- > 0;) {
        auto* nb = ::new (&items[i]) detail::newborn;
        nb->is_newborn = true;
        nb->next = pp->free_newborns;
        pp->free_newborns = nb;
      }
      pp->free_newborn_count += kSlabNewborns;
    }
  }
  detail::newborn* nb = pp->free_newborns;
  pp->free_newborns = static_cast<detail::newborn*>(nb->next);
  --pp->free_newborn_count;
  return nb;
}

void newborn_pool::put(p* pp, detail::newborn* nb) noexcept {
  nb->type = nullptr;
  __atomic_store_n(&nb->stage, detail::newborn_free, __ATOMIC_RELAXED);
  nb->next = pp->free_newborns;
  pp->free_newborns = nb;
  if (++pp->free_newborn_count <= 2 * kPerP) return;
  const std::lock_guard guard(lock_);
  while (pp->free_newborn_count > kPerP) {
    detail::newborn* give = pp->free_newborns;
    pp->free_newborns = static_cast<detail::newborn*>(give->next);
    give->next = free_;
    free_ = give;
    ++free_count_;
    --pp->free_newborn_count;
  }
}

size_t newborn_pool::trim() noexcept {
  // The list is taken away whole and looked at without the lock: it may be a million long, and each link is a cache miss. Who wants a
  // newborn meanwhile begins a slab.
  detail::newborn* list;
  size_t surplus;
  uint32_t made;
  {
    const std::lock_guard guard(lock_);
    surplus = std::exchange(least_free_, free_count_);
    if (surplus <= kAlwaysKept) return 0;
    list = std::exchange(free_, nullptr);
    free_count_ = 0;
    made = made_;
  }
  std::fill_n(free_here_, made, uint16_t{0});
  for (const runnable* nb = list; nb != nullptr; nb = nb->next) ++free_here_[slab_of(static_cast<const detail::newborn*>(nb))];

  // Whole slabs, the highest first, down to what has to stay.
  constexpr uint16_t kGoes = UINT16_MAX;
  size_t goes = 0;
  for (uint32_t s = made; s-- > 0 && surplus - goes >= kAlwaysKept + kSlabNewborns;) {
    if (free_here_[s] != kSlabNewborns) continue;
    free_here_[s] = kGoes;
    goes += kSlabNewborns;
  }
  detail::newborn* keep = nullptr;
  detail::newborn* last = nullptr;
  size_t kept = 0;
  for (detail::newborn* nb = list; nb != nullptr;) {
    auto* next = static_cast<detail::newborn*>(nb->next);
    if (free_here_[slab_of(nb)] != kGoes) {
      nb->next = keep;
      keep = nb;
      if (last == nullptr) last = nb;
      ++kept;
    }
    nb = next;
  }
  for (uint32_t s = 0; s < made;) {
    uint32_t run = 0;
    while (s + run < made && free_here_[s + run] == kGoes) ++run;
    if (run > 0) madvise(slab(s), run * kSlabBytes, MADV_DONTNEED);
    s += run > 0 ? run : 1;
  }
  const std::lock_guard guard(lock_);
  for (uint32_t s = made; s-- > 0;)
    if (free_here_[s] == kGoes) given_back_[given_back_count_++] = s;  // the lowest is taken first
  if (last != nullptr) {
    last->next = free_;
    free_ = keep;
    free_count_ += kept;
  }
  least_free_ = free_count_;
  return goes * sizeof(detail::newborn);
}

}  // namespace warren::rt

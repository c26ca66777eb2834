// Where goroutines lie that have been spawned and have not run: 128 bytes each in place of a stack.
//
// One reservation of address space, cut into slabs of 512 newborns (64 KiB): one kernel mapping however many there are. A newborn is taken
// from the P's list, the pool's list, or a slab that was never used or was given back. The lists are linked through the newborns
// themselves. What a burst leaves behind is given back by whole slabs: trim() takes those of which every newborn has been in the pool's
// list for the whole time since the last trim.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/os/mutex.h"
#include "runtime/sched/g.h"

namespace warren::rt {

struct p;

class newborn_pool {
 public:
  newborn_pool();
  ~newborn_pool();  // closures of goroutines that never ran are destroyed
  newborn_pool(const newborn_pool&) = delete;
  newborn_pool& operator=(const newborn_pool&) = delete;

  // Called by the owner of pp, in a bracket.
  detail::newborn* get(p* pp);  // throws std::bad_alloc
  void put(p* pp, detail::newborn* nb) noexcept;

  // REQUIRES: world stopped. Calls visit(nb) for every newborn that holds a closure.
  template <class F>
  void for_each(F&& visit) {
    for (uint32_t s = 0; s < made_; ++s)
      for (uint32_t i = 0; i < kSlabNewborns; ++i)
        if (slab(s)[i].type != nullptr) visit(slab(s)[i]);
  }

  static constexpr uint32_t kSlabNewborns = 512;
  // Slabs [0, slabs()) have been used. Their memory stays readable; slabs given back read as zeros.
  uint32_t slabs() noexcept {
    lock_.lock();
    const uint32_t n = made_;
    lock_.unlock();
    return n;
  }
  detail::newborn* slab_at(uint32_t number) const noexcept { return slab(number); }
  // Is this address in a newborn, whatever it holds?
  bool contains(const void* addr) const noexcept {
    return reinterpret_cast<uintptr_t>(addr) - reinterpret_cast<uintptr_t>(base_) < capacity_ * kSlabBytes;
  }

  // Gives back the slabs that were not needed since the last call. Returns the bytes. One caller at a time, on any thread.
  size_t trim() noexcept;

 private:
  static constexpr size_t kSlabBytes = kSlabNewborns * sizeof(detail::newborn);

  detail::newborn* slab(uint32_t number) const noexcept { return reinterpret_cast<detail::newborn*>(base_ + number * kSlabBytes); }
  uint32_t slab_of(const detail::newborn* nb) const noexcept {
    return static_cast<uint32_t>((reinterpret_cast<const std::byte*>(nb) - base_) / kSlabBytes);
  }

  std::byte* base_ = nullptr;
  size_t mapping_bytes_ = 0;
  uint32_t capacity_ = 0;          // slabs
  uint16_t* free_here_ = nullptr;  // per slab; of trim alone

  mutex lock_;
  // Guarded by lock_.
  uint32_t made_ = 0;               // slabs [0, made_) have been used
  uint32_t* given_back_ = nullptr;  // numbers of those without memory: a stack, room for capacity_
  uint32_t given_back_count_ = 0;
  detail::newborn* free_ = nullptr;
  size_t free_count_ = 0;
  size_t least_free_ = 0;  // since the last trim
};

}  // namespace warren::rt

#include "runtime/gc/work_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>
#include <utility>

#include "runtime/os/fatal.h"

namespace warren::rt {

work_pool::work_pool(std::byte* memory, size_t bytes) noexcept : memory_(memory) {
  const size_t n = bytes / sizeof(work_buffer);
  most_ = n < UINT32_MAX - 1 ? static_cast<uint32_t>(n) : UINT32_MAX - 1;
}

void work_pool::push(std::atomic<uint64_t>& head, work_buffer* b) noexcept {
  uint64_t was = head.load(std::memory_order_relaxed);
  uint64_t now;
  do {
    b->next.store(static_cast<uint32_t>(was), std::memory_order_relaxed);
    now = ((was >> 32) + 1) << 32 | number_of(b);
  } while (!head.compare_exchange_weak(was, now, std::memory_order_release, std::memory_order_relaxed));
}

work_buffer* work_pool::pop(std::atomic<uint64_t>& head) noexcept {
  uint64_t was = head.load(std::memory_order_acquire);
  for (;;) {
    const auto number = static_cast<uint32_t>(was);
    if (number == 0) return nullptr;
    work_buffer* const b = at(number);
    // Another may have taken b meanwhile and be using it: then `next` is of no meaning, and the exchange fails.
    const uint64_t now = ((was >> 32) + 1) << 32 | b->next.load(std::memory_order_relaxed);
    if (head.compare_exchange_weak(was, now, std::memory_order_acquire, std::memory_order_acquire)) return b;
  }
}

work_buffer* work_pool::get_empty() noexcept {
  if (work_buffer* b = pop(empty_)) return b;
  const uint32_t number = made_.fetch_add(1, std::memory_order_relaxed) + 1;
  if (number > most_) fatal("the collector's mark queues are full: this is a bug in the runtime (an object was queued twice)");
  return ::new (at(number)) work_buffer;
}

work_buffer* work_pool::get_full() noexcept { return pop(full_); }
void work_pool::put_empty(work_buffer* b) noexcept { push(empty_, b); }
void work_pool::put_full(work_buffer* b) noexcept { push(full_, b); }

void work_pool::put_pages(work_buffer* b) noexcept { push(young_, b); }

work_buffer* work_pool::get_pages() noexcept {
  if (work_buffer* b = pop(old_)) return b;
  uint64_t was = young_.load(std::memory_order_acquire);
  do {
    if (static_cast<uint32_t>(was) == 0) return pop(old_);
  } while (!young_.compare_exchange_weak(was, ((was >> 32) + 1) << 32, std::memory_order_acquire, std::memory_order_acquire));
  for (auto number = static_cast<uint32_t>(was); number != 0;) {
    work_buffer* const b = at(number);
    number = b->next.load(std::memory_order_relaxed);
    push(old_, b);
  }
  return pop(old_);
}

void work_pool::take_back(work_buffer** b, void (work_pool::*put)(work_buffer*) noexcept) noexcept {
  if (*b == nullptr) return;
  (this->*((*b)->count != 0 ? put : &work_pool::put_empty))(*b);
  *b = nullptr;
}

void work_pool::reset() noexcept {
  if (has_work()) fatal("a collection ended with work in its queues: this is a bug in the runtime");
  used_ = std::max(used_, made_.load(std::memory_order_relaxed) * sizeof(work_buffer));
  made_.store(0, std::memory_order_relaxed);
  empty_.store(0, std::memory_order_relaxed);
  full_.store(0, std::memory_order_relaxed);
  young_.store(0, std::memory_order_relaxed);
  old_.store(0, std::memory_order_relaxed);
}

void work_pool::give_back() noexcept {
  constexpr size_t keep = 1 << 20;
  if (used_ > keep) madvise(memory_ + keep, used_ - keep, MADV_DONTNEED);
  used_ = 0;
}

void mark_queue::make_room() noexcept {
  if (near_ == nullptr) {
    near_ = pool_.get_empty();
    return;
  }
  std::swap(near_, far_);
  if (near_ != nullptr && near_->count < work_buffer::kCapacity) return;
  if (near_ != nullptr) pool_.put_full(near_);
  near_ = pool_.get_empty();
}

bool mark_queue::fetch() noexcept {
  if (far_ != nullptr && far_->count != 0) {
    std::swap(near_, far_);
    return true;
  }
  work_buffer* const b = pool_.get_full();
  if (b == nullptr) return false;
  if (near_ != nullptr) pool_.put_empty(near_);
  near_ = b;
  return true;
}

void mark_queue::flush() noexcept {
  for (work_buffer** b : {&near_, &far_}) pool_.take_back(b, &work_pool::put_full);
}

void page_queue::make_room() noexcept {
  if (in_ != nullptr) pool_.put_pages(in_);
  in_ = pool_.get_empty();
}

bool page_queue::fetch() noexcept {
  if (work_buffer* const b = pool_.get_pages()) {
    if (out_ != nullptr) pool_.put_empty(out_);
    out_ = b;
    return true;
  }
  if (in_ == nullptr || in_->count == 0) return false;
  std::swap(in_, out_);
  return true;
}

void page_queue::flush() noexcept {
  for (work_buffer** b : {&in_, &out_}) pool_.take_back(b, &work_pool::put_pages);
}

}  // namespace warren::rt

#include "runtime/gc/assist_queue.h"

#include <mutex>
#include <utility>

namespace warren::rt {

void assist_queue::list::push(waiter* w) noexcept {
  w->next = nullptr;
  (first == nullptr ? first : last->next) = w;
  last = w;
}

assist_queue::waiter* assist_queue::list::pop() noexcept {
  waiter* const w = first;
  if (w != nullptr) first = w->next;
  return w;
}

void assist_queue::open() noexcept {
  std::lock_guard guard(lock_);
  credit_.store(0, std::memory_order_relaxed);
  open_ = true;
}

void assist_queue::close() noexcept {
  std::lock_guard guard(lock_);
  open_ = false;
  move_all();
}

void assist_queue::forgive() noexcept {
  if (waiting_.load(std::memory_order_relaxed) == 0) return;
  std::lock_guard guard(lock_);
  move_all();
}

void assist_queue::move_all() noexcept {
  while (waiter* const w = waiting_list_.pop()) {
    w->debt = 0;
    paid(w);
  }
}

void assist_queue::paid(waiter* w) noexcept {
  paid_.push(w);
  any_paid_.store(true, std::memory_order_relaxed);
  waiting_.fetch_sub(1, std::memory_order_release);
}

int64_t assist_queue::take_credit(int64_t most) noexcept {
  int64_t there = credit_.load(std::memory_order_seq_cst);
  while (there > 0) {
    const int64_t taken = there < most ? there : most;
    if (credit_.compare_exchange_weak(there, there - taken, std::memory_order_seq_cst)) return taken;
  }
  return 0;
}

void assist_queue::pay() noexcept {
  while (waiter* const w = waiting_list_.first) {
    w->debt -= take_credit(w->debt);
    if (w->debt > 0) return;
    waiting_list_.pop();
    paid(w);
  }
}

void assist_queue::add(int64_t work) noexcept {
  if (work <= 0) return;
  credit_.fetch_add(work, std::memory_order_seq_cst);
  if (waiting_.load(std::memory_order_seq_cst) == 0) return;
  std::lock_guard guard(lock_);
  pay();
}

int64_t assist_queue::take(int64_t most) noexcept { return waiting_.load(std::memory_order_relaxed) != 0 ? 0 : take_credit(most); }

bool assist_queue::wait(waiter* w) noexcept {
  std::lock_guard guard(lock_);
  if (!open_) {
    w->debt = 0;
    return false;
  }
  waiting_.fetch_add(1, std::memory_order_seq_cst);
  pay();  // those before
  if (waiting_list_.first == nullptr) w->debt -= take_credit(w->debt);
  if (w->debt == 0) {
    waiting_.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  waits_.fetch_add(1, std::memory_order_relaxed);
  waiting_list_.push(w);
  return true;
}

void assist_queue::wake_paid() noexcept {
  if (!any_paid_.load(std::memory_order_relaxed)) return;
  lock_.lock();
  any_paid_.store(false, std::memory_order_relaxed);
  waiter* w = std::exchange(paid_.first, nullptr);
  lock_.unlock();
  while (w != nullptr) {
    waiter* const next = w->next;  // w is gone once it is woken
    w->wake(w);
    w = next;
  }
}

}  // namespace warren::rt

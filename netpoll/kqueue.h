// The poller on BSD, macOS, and wherever a library offers the interface: one kqueue, edge-triggered, and a pipe to wake it.
#pragma once
#include <atomic>
#include <cstdint>

#include "netpoll/poller.h"
#include "netpoll/sys_kqueue.h"

namespace warren::rt {

class kqueue_poller final : public poller {
 public:
  static kqueue_poller* make(int* error) noexcept;
  ~kqueue_poller() override;

  int add(int fd, uint64_t token) noexcept override;
  void closing(int fd) noexcept override;
  runnable_list poll(int64_t delay_ns) override;
  void wake() override;
  statistics stats() const noexcept override;

  // What poll does with what the kernel returned; apart for the tests, which replay events that came too late.
  runnable_list deliver(const struct kevent* events, int count, bool blocking) noexcept;

 private:
  kqueue_poller(int kq, const int* ends) noexcept : kqueue_(kq), wake_read_(ends[0]), wake_write_(ends[1]) {}

  const int kqueue_;
  const int wake_read_;
  const int wake_write_;
  std::atomic<uint32_t> wake_pending_{0};
  std::atomic<uint64_t> polls_{0}, events_{0}, stale_{0}, wakes_{0};
};

}  // namespace warren::rt

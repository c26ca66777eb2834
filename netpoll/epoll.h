// The poller on Linux: one epoll instance, edge-triggered, and an eventfd to wake it.
#pragma once
#include <sys/epoll.h>

#include <atomic>
#include <cstdint>

#include "netpoll/poller.h"

namespace warren::rt {

class epoll_poller final : public poller {
 public:
  static epoll_poller* make(int* error) noexcept;
  ~epoll_poller() override;

  int add(int fd, uint64_t token) noexcept override;
  runnable_list poll(int64_t delay_ns) override;
  void wake() override;
  statistics stats() const noexcept override;

  // What poll does with what the kernel returned; apart for the tests, which replay events that came too late.
  runnable_list deliver(const epoll_event* events, int count, bool blocking) noexcept;

 private:
  epoll_poller(int ep, int event) noexcept : epoll_fd_(ep), event_fd_(event) {}

  const int epoll_fd_;
  const int event_fd_;
  std::atomic<uint32_t> wake_pending_{0};
  std::atomic<uint64_t> polls_{0}, events_{0}, stale_{0}, wakes_{0};
};

}  // namespace warren::rt

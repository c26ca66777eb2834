// session_room: pages for the large blocks of a session, which are nearly empty and, on an idle connection, asleep.
//
// nghttp2 packs each frame in a buffer of 16 KiB, of which small calls touch the first hundred bytes, and finds streams by a table of 4
// KiB, which is all zero when no stream is open. The session itself and the rings of its two HPACK tables take five more, of which a fifth
// is not zero. In malloc's heap that is 13 KB of a connection, two thirds of what it takes; and what lies between blocks of others stays
// there. Here they lie on pages of their own, which the kernel takes back (trim) once they hold nothing, or nothing that is not kept
// elsewhere (session_memory.h).
//
// Rooms that come free are kept in a few slots, as in block_pool; the rest is the kernel's. A lock would be shared by all runs of the
// scheduler, and whoever holds it can be stopped anywhere.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>

namespace warren::http2 {

class session_room {
 public:
  static constexpr size_t kPage = 4096;
  static constexpr size_t kBytes = 8 * kPage;

  // kBytes of memory, of which the pages that nobody has touched are not there yet. What they hold is not specified. nullptr: no memory.
  // Any thread, as give().
  static char* take() noexcept {
    for (auto& s : slots_) {
      if (s.load(std::memory_order_relaxed) == nullptr) continue;
      // acquire pairs with the release in give(): the giver's last accesses come before ours.
      if (char* r = s.exchange(nullptr, std::memory_order_acquire)) return r;
    }
    void* const at = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return nullptr;
    madvise(at, kBytes, MADV_NOHUGEPAGE);  // neighbours become one mapping, in which a touched byte might back two megabytes
    return static_cast<char*>(at);
  }
  static void give(char* room) noexcept {
    for (auto& s : slots_) {
      char* empty = nullptr;
      if (s.load(std::memory_order_relaxed) == nullptr && s.compare_exchange_strong(empty, room, std::memory_order_release)) return;
    }
    munmap(room, kBytes);
  }

  // Gives the first n bytes' pages back to the system: they are zero from now on, or as they were.
  static void trim(char* room, size_t n) noexcept { madvise(room, n, MADV_DONTNEED); }
  // Larger pages would not be there for one session alone.
  static bool can_trim() noexcept {
    static const bool small_pages = sysconf(_SC_PAGESIZE) == long{kPage};
    return small_pages;
  }

 private:
  // For connections that come and go.
  static constexpr size_t kSlots = 16;
  static inline std::atomic<char*> slots_[kSlots] = {};
};

}  // namespace warren::http2

// A page that waits to be scanned (runtime/heap/page_word.h, runtime/gc/mark.h, page_closure.h): no mark is overlooked, no object scanned
// twice but by two who follow it at once.
#include <gtest/gtest.h>

#include "runtime/heap/mspan.h"
#include "runtime/heap/page_word.h"
#include "subject.h"

namespace warren::rt {
namespace {

using interleave::outcome;
using interleave::require;
using interleave::scenario;
using interleave::weakening;

// One page of objects, all old, and the queue that it waits in.
struct page {
  static constexpr uint8_t kClass = span_class_of(size_class_of(64), scan_kind::precise);
  uint32_t word = page_word(kClass, 0).bits();
  uint64_t marks = 0, scan = 0;
  std::atomic<int> queued{0};
  std::atomic<int> scans[3] = {};
  std::atomic<int> counted[3] = {};

  // As marker::settle.
  void greys(int i) {
    if (!mspan::try_set(&marks, uint64_t{1} << i)) return;
    counted[i].fetch_add(1, std::memory_order_relaxed);
    if (page_word::start_waiting(&word)) queued.fetch_add(1, std::memory_order_release);
  }
  // As marker::drain and marker::scan_page. False: no page waited.
  bool scan_if_queued() {
    int n = queued.load(std::memory_order_acquire);
    if (n == 0 || !queued.compare_exchange_strong(n, n - 1, std::memory_order_acq_rel)) return false;
    require(page_word::stop_waiting(&word).span_class() == kClass, "the word still tells what the page holds");
    uint64_t grey = __atomic_load_n(&marks, __ATOMIC_SEQ_CST) & ~__atomic_load_n(&scan, __ATOMIC_RELAXED);
    if (grey != 0) grey &= ~__atomic_fetch_or(&scan, grey, __ATOMIC_RELAXED);
    for (; grey != 0; grey &= grey - 1) scans[__builtin_ctzll(grey)].fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  // As marker::scan_gathered, of a page whose object 0 leads to `to`.
  void follows(int to) {
    const uint64_t bit = uint64_t{1} << to;
    if ((__atomic_load_n(&marks, __ATOMIC_RELAXED) & bit) != 0) return;
    scans[to].fetch_add(1, std::memory_order_relaxed);
    __atomic_fetch_or(&scan, bit, __ATOMIC_RELAXED);
    if ((__atomic_fetch_or(&marks, bit, __ATOMIC_SEQ_CST) & bit) == 0) counted[to].fetch_add(1, std::memory_order_relaxed);
  }
  // When all have come to their end: what still waits is scanned by somebody.
  void is_marked(int objects, int most = 1) {
    while (scan_if_queued()) {
    }
    for (int i = 0; i < objects; ++i) {
      require(scans[i].load() >= 1, "a grey object is scanned");
      require(scans[i].load() <= most, "and not more often than there are who follow it");
      require(counted[i].load() == 1, "it is counted once");
    }
  }
};

void marked_while_it_is_scanned(scenario& s) {
  auto* const p = s.make<page>();
  p->greys(0);
  s.thread("greys", [=] { p->greys(1); });
  s.thread("greys another", [=] { p->greys(2); });
  s.thread("scans", [=] { p->scan_if_queued(); });
  s.at_end([=] { p->is_marked(3); });
}

void scanned_by_two(scenario& s) {
  auto* const p = s.make<page>();
  p->greys(0);
  s.thread("greys and scans", [=] {
    p->greys(1);
    p->scan_if_queued();
  });
  s.thread("scans", [=] {
    p->scan_if_queued();
    p->scan_if_queued();
  });
  s.at_end([=] { p->is_marked(2); });
}

// Object 0 leads to object 1, which others grey meanwhile and scan with the page.
void followed_within_the_page(scenario& s) {
  auto* const p = s.make<page>();
  s.thread("follows", [=] { p->follows(1); });
  s.thread("greys and scans", [=] {
    p->greys(1);
    p->scan_if_queued();
  });
  s.thread("scans", [=] { p->scan_if_queued(); });
  s.at_end([=] {
    p->greys(0);
    p->is_marked(2, 2);
  });
}

void followed_by_two(scenario& s) {
  auto* const p = s.make<page>();
  for (const char* name : {"follows", "follows it, too"}) s.thread(name, [=] { p->follows(1); });
  s.at_end([=] {
    p->greys(0);
    p->is_marked(2, 2);
  });
}

constexpr interleave::subject kSubjects[] = {
    {"MarkedWhileItIsScanned", marked_while_it_is_scanned, {.preemptions = 3, .weak = 2}},
    {"ScannedByTwo", scanned_by_two, {.preemptions = 3, .weak = 2}},
    {"FollowedWithinThePage", followed_within_the_page, {.preemptions = 3, .weak = 2}},
    {"FollowedByTwo", followed_by_two, {.preemptions = 3, .weak = 2}},
};
INTERLEAVE_SUBJECTS(Page, kSubjects)

constexpr interleave::mistake kMistakes[] = {
    {{"page_word.h", "__atomic_load_n(word, __ATOMIC_SEQ_CST)", weakening::relaxed}, outcome::assertion},
    {{"mspan.h", "__atomic_fetch_or(word, bit, __ATOMIC_SEQ_CST)", weakening::relaxed}, outcome::assertion},
    {{"page_word.h", "__atomic_fetch_and(word, ~kWaits, __ATOMIC_SEQ_CST)", weakening::relaxed}, outcome::assertion},
};
INTERLEAVE_MISTAKES(Page, kSubjects, kMistakes)

}  // namespace
}  // namespace warren::rt

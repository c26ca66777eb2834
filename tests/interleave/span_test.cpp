// A span that is allocated from while a collection marks (runtime/heap/mspan.h): what a marker may see of it.
#include <gtest/gtest.h>

#include "runtime/heap/mspan.h"
#include "subject.h"

namespace warren::rt {
namespace {

using interleave::outcome;
using interleave::require;
using interleave::scenario;
using interleave::weakening;

// 128 slots of 16 bytes; the first word of each. Slot 0 was taken when the marking began.
struct small_span {
  static constexpr uint32_t kSlots = 128;
  mspan s;
  uint64_t bits[4] = {1, 0, 0, 0};
  uint64_t content[kSlots];

  small_span() {
    s.nelems = kSlots;
    s.elem_size = s.elem_size32 = 16;
    s.object_bits = bits;
    s.load_group(0);
    for (uint64_t& c : content) c = 0xdbdbdbdbdbdbdbdb;
  }
  // As mheap::refill.
  void begins_group() { s.blacken_group(); }
  // As mspan::take and zero_slot.
  void make_black() {
    const auto i = s.free_group * 64 + static_cast<uint32_t>(__builtin_ctzll(s.alloc_cache));
    s.alloc_cache &= s.alloc_cache - 1;
    content[i] = 0;
    require(s.is_marked(i), "a new object is black");
  }
  // As mheap::uncache.
  void leaves() {
    s.whiten_rest();
    s.record_allocated();
    require((__atomic_load_n(&s.mark_bits(s.free_group), __ATOMIC_RELAXED) & s.alloc_cache) == 0, "no free slot is marked");
  }
  // As marker::mark_word.
  void meets_a_word_to(uint32_t i) {
    if (!s.was_allocated(i)) return;
    require(s.is_marked(i) || i == 0, "a new object that is seen is seen to be black");
    if (s.try_mark(i)) require(i == 0, "only old objects become grey");
    if (i != 0) require(content[i] == 0, "and zeroed");
  }
};

// A full span leaves its mcache while a marker holds an invented word that points into it.
void leaves_its_mcache(scenario& s) {
  auto* const x = s.make<small_span>();
  s.thread("allocates", [=] {
    x->begins_group();
    x->make_black();
    x->leaves();
  });
  s.thread("marks", [=] { x->meets_a_word_to(1); });
  s.thread("marks, too", [=] { x->meets_a_word_to(0); });
}

// The same in a group that is behind the current one.
void leaves_it_in_a_later_group(scenario& s) {
  auto* const x = s.make<small_span>();
  x->s.alloc_cache = uint64_t{1} << 63;
  s.thread("allocates", [=] {
    x->begins_group();
    x->make_black();
    x->s.next_group();
    x->begins_group();
    x->make_black();
    x->leaves();
  });
  s.thread("marks", [=] {
    x->meets_a_word_to(63);
    x->meets_a_word_to(64);
  });
}

constexpr interleave::subject kSubjects[] = {
    {"LeavesItsMcache", leaves_its_mcache, {.preemptions = 3, .weak = 2}},
    {"LeavesItInALaterGroup", leaves_it_in_a_later_group, {.preemptions = 3, .weak = 2}},
};
INTERLEAVE_SUBJECTS(Span, kSubjects)

constexpr interleave::mistake kMistakes[] = {
    {{"mspan.h", "__atomic_store_n(&alloc_bits(group), group_mask(group), __ATOMIC_RELEASE)", weakening::relaxed}, outcome::data_race},
    {{"mspan.h", "~alloc_cache & group_mask(free_group), __ATOMIC_RELEASE)", weakening::relaxed}, outcome::data_race},
    {{"mspan.h", "__atomic_load_n(&alloc_bits(i / 64), __ATOMIC_ACQUIRE)", weakening::no_acquire}, outcome::data_race},
};
INTERLEAVE_MISTAKES(Span, kSubjects, kMistakes)

}  // namespace
}  // namespace warren::rt

#include "runtime/gc/pacer.h"

#include <algorithm>

#include "runtime/heap/tunables.h"

namespace warren::rt {

namespace {
// Go's: the trigger lies between 45/64 and 61/64 of the way from the live heap to the goal, or 4 MB before the goal if that is later.
constexpr uint64_t kLeastWay = 45, kMostWay = 61, kWays = 64;
constexpr uint64_t kDefaultRunway = 4 << 20;
constexpr uint64_t kLeastWork = 1000;
// Go's, too: kept below the limit for what the accounts do not know yet.
constexpr uint64_t kHeadroomPercent = 3, kLeastHeadroom = 1 << 20;
// The least way to a goal that a limit sets, as a part of what lives: a collection then marks 32 bytes for one that has come, at most. It
// goes at the expense of the headroom.
constexpr uint64_t kLeastWayPart = 32, kLeastWayBytes = 256 << 10;
constexpr double kRetain = 1.1;
}  // namespace

pacer::pacer(int percent, bool concurrent) noexcept : percent_(percent), concurrent_(concurrent) { commit(); }

void pacer::set(int percent, bool concurrent) noexcept {
  percent_ = percent;
  concurrent_ = concurrent;
  commit();
}

uint64_t pacer::percent_of(uint64_t bytes) const noexcept {
  const auto p = static_cast<uint64_t>(percent_);
  return bytes / 100 * p + bytes % 100 * p / 100;
}

double pacer::cons_mark() const noexcept { return *std::max_element(cons_mark_, cons_mark_ + kHistory); }

uint64_t pacer::percent_goal() const noexcept {
  if (percent_ < 0) return kNever;
  return std::max(live() + percent_of(live() + root_work_), percent_of(kMinTriggerBytes));
}

// How large the heap may become for the limit's sake.
uint64_t pacer::limit_goal() noexcept {
  limit_missed_ = false;
  const memory& m = memory_;
  if (m.limit == kNever) return kNever;
  const uint64_t heap = m.heap_free + m.heap_allocated + m.external;
  const uint64_t rest = m.used > heap ? m.used - heap : 0;
  const uint64_t over = m.used > m.limit ? m.used - m.limit : 0;
  uint64_t goal = rest + over < m.limit ? m.limit - rest - over : 0;
  const uint64_t headroom = std::max(goal / 100 * kHeadroomPercent, kLeastHeadroom);
  goal = goal > headroom ? goal - headroom : 0;
  const uint64_t least_goal = live() + std::max(live() / kLeastWayPart, kLeastWayBytes);
  if (goal >= least_goal) return goal;
  // Over the limit is also who has memory that the scavenger is about to give back, and who has made much that the last cycle could not see
  // die; missed is one that what is known to live alone exceeds.
  limit_missed_ = rest + (marked_ - born_) + std::min(external_, lasting_external_) > m.limit;
  return least_goal;
}

void pacer::set_memory(const memory& m) noexcept {
  memory_ = m;
  commit();
}

void pacer::commit() noexcept {
  goal_ = percent_goal();
  const uint64_t by_limit = limit_goal();
  hard_goal_ = memory_.ignore && !concurrent_ ? kNever : by_limit;
  by_limit_ = hard_goal_ < goal_;
  if (by_limit_) goal_ = hard_goal_;
  if (goal_ == kNever) {
    trigger_ = kNever;
    return;
  }
  if (!concurrent_ || goal_ <= live()) {
    trigger_ = goal_;
    return;
  }
  const uint64_t way = goal_ - live();
  const uint64_t least = live() + way / kWays * kLeastWay;
  const uint64_t most = std::max({least, live() + way / kWays * kMostWay, goal_ > kDefaultRunway ? goal_ - kDefaultRunway : 0});
  const auto runway = static_cast<uint64_t>(cons_mark() * (1 - share_) / share_ * static_cast<double>(heap_work_ + root_work_));
  trigger_ = std::clamp(runway < goal_ ? goal_ - runway : 0, least, std::min(most, goal_));
}

void pacer::set_external(uint64_t bytes) noexcept {
  external_ = bytes;
  commit();
}

void pacer::start_cycle(uint64_t live, uint64_t external) noexcept {
  triggered_ = live;
  triggered_external_ = external;
}

double pacer::ratio(uint64_t live, uint64_t work) noexcept {
  uint64_t goal = goal_;
  if (goal == kNever) goal = triggered_ + std::max<uint64_t>(triggered_, kMinTriggerBytes);  // a collection by hand
  // More cannot be scanned than is there: what was live at the start.
  const uint64_t most_work = triggered_ - std::min(triggered_, triggered_external_) + root_work_;
  uint64_t expected = heap_work_ + root_work_;
  if (expected == 0 || expected > most_work) expected = most_work;
  if (work > expected) {
    // The heap has grown since the last cycle. As much later as there is more to do, but not beyond the next goal.
    const double more = static_cast<double>(most_work) / static_cast<double>(std::max<uint64_t>(expected, 1));
    const uint64_t way = goal > triggered_ ? goal - triggered_ : 0;
    if (!by_limit_)
      goal = std::min(
          {triggered_ + static_cast<uint64_t>(static_cast<double>(way) * more), goal + percent_of(percent_ < 0 ? 0 : goal), hard_goal_});
    expected = most_work;
  }
  if (live > goal) {
    if (!by_limit_) goal = std::min(goal / 10 * 11, hard_goal_);
    expected = most_work;
  }
  const uint64_t left = std::max(expected > work ? expected - work : 0, kLeastWork);
  const uint64_t way = goal > live ? goal - live : 1;
  return static_cast<double>(left) / static_cast<double>(way);
}

void pacer::end_cycle(const cycle& c, const memory& at_its_end) noexcept {
  share_ = share(c.procs);
  if (c.duration > 0 && c.live_end > triggered_ && c.heap_work + c.root_work != 0) {
    const double all = static_cast<double>(c.duration) * c.procs;
    // Of the workers the share that they are to have, as in Go, not the time they took. In a short cycle that is nearly all there was
    // (kAhead): what has come meanwhile is then mostly what was in the Ps' caches, and would count twentyfold.
    const double used = std::min(share_ + static_cast<double>(c.assist) / all, 0.95);
    const double idle = std::min(static_cast<double>(c.idle) / all, 1 - used);
    const double now =
        static_cast<double>(c.live_end - triggered_) * (used + idle) / (static_cast<double>(c.heap_work + c.root_work) * (1 - used));
    for (int i = kHistory - 1; i > 0; --i) cons_mark_[i] = cons_mark_[i - 1];
    cons_mark_[0] = now;
  }
  const uint64_t last_goal = goal_;
  marked_ = c.marked;
  // Objects only: what came and went behind them meanwhile is no part of what was marked.
  const uint64_t objects = c.live_end - std::min(c.live_end, c.external);
  const uint64_t objects_before = triggered_ - std::min(triggered_, triggered_external_);
  born_ = std::min(objects - std::min(objects, objects_before), marked_);
  lasting_external_ = std::min(external_, c.external);
  external_ = c.external;
  heap_work_ = c.heap_work;
  root_work_ = c.root_work;
  memory_ = at_its_end;
  commit();
  // Without a goal of its own, the heap keeps what it has until the limit wants it.
  const uint64_t now = percent_goal();
  retain_ = kNever;
  if (now != kNever && last_goal != kNever && last_goal != 0)
    retain_ = static_cast<uint64_t>(kRetain * static_cast<double>(memory_.heap_spans) * static_cast<double>(now) /
                                    static_cast<double>(last_goal));
}

int64_t pacer::rest(int64_t worked, int64_t elapsed, double share) noexcept {
  return static_cast<int64_t>(static_cast<double>(worked - kAhead) / share) - elapsed;
}

void cpu_limiter::update(int64_t total, int64_t gc, int procs) noexcept {
  if (total <= 0) return;
  const int64_t capacity = kCapacityPerProc * procs;
  gc = std::clamp<int64_t>(gc, 0, total);
  // What runs over counts, to a point: were it lost, a step of marking alone and one of little marking in turns would both pass.
  fill_ = std::clamp<int64_t>(fill_ + gc - (total - gc), 0, capacity + capacity / 20);
  const bool full = fill_ >= capacity;
  if (full && !limiting_) ++times_;
  limiting_ = full;
}

}  // namespace warren::rt

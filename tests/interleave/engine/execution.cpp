// How executions are chosen.
//
// Stateless search, as in VeriSoft and CHESS: an execution is determined by the answers to the questions that come up while it runs (which
// thread goes on? which value does this load return?). The first execution answers 0 everywhere; the next one repeats the answers up to the
// last question that has another answer left, gives that, and 0 from there on: depth first, with nothing remembered but one list of
// numbers. That list is also the schedule that is printed with a failure and can be replayed.
//
// Bounds. All interleavings are too many even for toys; but (Musuvathi, Qadeer: "Iterative context bounding", PLDI 2007) nearly all
// mistakes need two or three switches at a bad moment. A *preemption* is a switch away from a thread that could have gone on; switches at
// a wait or at an end cost nothing, so every bound leaves all runs to completion. explore() looks at all executions with 0 preemptions,
// then with up to 1, and so on: the first failure found is one with the fewest. The same is done for memory: a load that does not return
// the newest value costs one of `weak`. Answer 0 is always "go on" and "newest".
//
// Where the questions are. A thread can lose the processor before each atomic access, fence and system call, and nowhere else: what lies
// between touches plain variables only, and if the order of those mattered it would be a data race, which is reported. Accesses of
// variables that only one thread uses, or that nobody changes, are no question either; which ones these are is learned: an execution that
// finds another variable shared makes the search begin again with that knowledge.
//
// Threads are fibers of one OS thread (runtime/stack's own context switch): a switch costs 3 ns, an address is the same in each execution,
// and nothing happens that was not chosen. Rejected: real threads handed a baton (5 µs a switch, 1000 times slower); ucontext (two
// system calls a switch); partial-order reduction, which does not go together with bounded preemptions without care (Coons, Musuvathi,
// McKinley: "Bounded partial-order reduction", 2013) and which the subjects here did not need.
//
// Spinning. A thread that reads the same again and again (12 times) waits for others: from then on its loads return the newest value, since
// no processor hides a store for ever; 12 times later it is put behind the others, without cost, and goes on when somebody has stored
// something. If nobody can, it is a livelock.
//
// Memory of the program. operator new is a bump allocator that starts anew with each execution: the same addresses, and memory that was
// freed is not used again, so that touching it is noticed. What globals held is remembered at the first write and put back.
#include "execution.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>

#include "runtime/stack/context.h"
#include "source_line.h"

extern "C" char __data_start[], _end[];

namespace interleave {

namespace {
constexpr uint32_t kSameIsSpinning = 12;
}

const char* to_string(outcome o) noexcept {
  switch (o) {
    case outcome::passed: return "passed";
    case outcome::assertion: return "assertion";
    case outcome::data_race: return "data race";
    case outcome::deadlock: return "deadlock";
    case outcome::livelock: return "livelock";
    case outcome::use_after_free: return "use after free";
    case outcome::fatal: return "fatal error";
    case outcome::unfinished: return "unfinished";
  }
  return "?";
}

execution* execution::the_one_ = nullptr;

execution* execution::make() {
  const auto map = [](size_t n) {
    void* p = mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) abort();
    return static_cast<std::byte*>(p);
  };
  auto* e = new execution;
  e->arena_ = map(kArena);
  for (int i = 0; i < kMaxThreads; ++i) e->stacks_.push_back(map(kStack));
  return the_one_ = e;
}

// --- questions ------------------------------------------------------------------------------------------------------------------------

uint32_t execution::pick(uint32_t n) {
  if (n <= 1) return 0;
  if (position_ == path_.size()) path_.push_back({0, static_cast<uint16_t>(n)});
  choice& c = path_[position_++];
  if (c.n == 0) {  // replayed
    c.n = static_cast<uint16_t>(n);
    if (c.taken >= n) fail(outcome::fatal, "this schedule is of another program: it has an answer for which there is no question");
  }
  if (c.n != n) fail(outcome::fatal, "the scenario is not deterministic: a repeated execution went another way (clock? random? static?)");
  if (full_ != nullptr) full_->push_back(c.taken);
  return c.taken;
}

uint32_t execution::pick_weak(uint32_t n) {
  const thread& me = threads_[static_cast<size_t>(current_)];
  if (weak_left_ == 0 || me.fresh || me.same >= 2 || current_ == 0) return 0;
  const uint32_t k = pick(n);
  if (k != 0) --weak_left_;
  return k;
}

bool execution::next_path() {
  while (!path_.empty() && path_.back().taken + 1 >= path_.back().n) path_.pop_back();
  if (path_.empty()) return false;
  ++path_.back().taken;
  return true;
}

// "12x0,1,3x0,2": runs of zeros are counted, those at the end left out.
std::string execution::schedule_string(const std::vector<uint16_t>& answers) {
  size_t end = answers.size();
  while (end > 0 && answers[end - 1] == 0) --end;
  std::string s;
  for (size_t i = 0; i < end;) {
    if (!s.empty()) s += ',';
    size_t zeros = 0;
    while (answers[i] == 0) ++zeros, ++i;
    if (zeros > 0) {
      s += std::to_string(zeros) + "x0";
    } else {
      s += std::to_string(answers[i++]);
    }
  }
  return s.empty() ? "0" : s;
}

namespace {
std::vector<uint16_t> parse_schedule(const std::string& s) {
  std::vector<uint16_t> out;
  for (size_t i = 0; i < s.size();) {
    size_t used = 0;
    const unsigned long n = std::stoul(s.substr(i), &used);
    i += used;
    if (i + 1 < s.size() && s[i] == 'x') {
      out.insert(out.end(), n, 0);
      i += 2;
    } else {
      out.push_back(static_cast<uint16_t>(n));
    }
    if (i < s.size()) ++i;
  }
  return out;
}
}  // namespace

// --- threads --------------------------------------------------------------------------------------------------------------------------

int execution::spawn(const char* name, void (*fn)(void*), void* arg, bool daemon) {
  const int t = mem_.fork(current_);
  threads_.emplace_back();
  thread& n = threads_.back();
  n.name = name;
  n.fn = fn;
  n.arg = arg;
  n.daemon = daemon;
  n.sp = warren::rt::make_context(stacks_[static_cast<size_t>(t)] + kStack - 64, &thread_main, nullptr);
  record({step_record::birth, static_cast<uint8_t>(current_), 0, 0, false, 0, 0, static_cast<uint64_t>(t), nullptr, {}});
  return t;
}

void execution::thread_main(void*) {
  execution& e = get();
  {
    const int t = e.current_;
    thread& me = e.threads_[static_cast<size_t>(t)];
    if (t == 0) {
      scenario s;
      e.depth = 0;
      e.setup_(e.setup_arg_, s);
      e.depth = 1;
      e.block(
          [](void* p) {
            auto& all = static_cast<execution*>(p)->threads_;
            return std::all_of(all.begin() + 1, all.end(), [](const thread& x) { return x.daemon || x.state == thread::is::done; });
          },
          &e, "the others' end");
      for (size_t i = 1; i < e.threads_.size(); ++i)
        if (!e.threads_[i].daemon) e.mem_.join(0, static_cast<int>(i));
      for (size_t i = 0; i < e.ends_.size(); ++i) {
        const finish f = e.ends_[i];
        e.depth = 0;
        f.fn(f.arg);
        e.depth = 1;
      }
      void* nowhere;
      warren::rt::warren_context_switch(&nowhere, e.driver_sp_);
    }
    void (*fn)(void*) = me.fn;
    void* arg = me.arg;
    e.depth = 0;
    fn(arg);
    e.depth = 1;
  }
  e.threads_[static_cast<size_t>(e.current_)].state = thread::is::done;
  e.record({step_record::end, static_cast<uint8_t>(e.current_), 0, 0, false, 0, 0, 0, nullptr, {}});
  e.leave(false);
  __builtin_unreachable();
}

bool execution::enabled(size_t t) {
  thread& x = threads_[t];
  switch (x.state) {
    case thread::is::ready: return true;
    case thread::is::waiting: return x.holds(x.holds_arg);
    case thread::is::yielded: return mem_.stores() != x.yielded_at;
    case thread::is::done: return false;
  }
  return false;
}

void execution::collect(std::vector<int>& out, int but) {
  out.clear();
  // Setup's thread last, it only waits for the end.
  for (size_t i = 1; i <= threads_.size(); ++i) {
    const size_t t = i % threads_.size();
    if (static_cast<int>(t) != but && enabled(t)) out.push_back(static_cast<int>(t));
  }
}

void execution::switch_to(int t) {
  thread& from = threads_[static_cast<size_t>(current_)];
  thread& to = threads_[static_cast<size_t>(t)];
  if (to.state == thread::is::yielded) to.fresh = true;
  to.state = thread::is::ready;
  if (t == current_) return;
  current_ = t;
  if (at_switch != nullptr) at_switch(t);
  const int d = depth;
  warren::rt::warren_context_switch(&from.sp, to.sp);
  depth = d;
}

// The running thread cannot go on (or does not want to): anybody else does.
void execution::leave(bool counts_self) {
  collect(candidates_, counts_self ? -1 : current_);
  if (candidates_.empty()) {
    // Time passes only when nothing else can happen.
    for (size_t t = 0; t < threads_.size(); ++t)
      if (threads_[t].state == thread::is::waiting && threads_[t].timed) candidates_.push_back(static_cast<int>(t));
    if (candidates_.empty()) stuck();
  }
  const uint32_t k = pick(static_cast<uint32_t>(candidates_.size()));
  switch_to(candidates_[k]);
}

void execution::stuck() {
  bool spins = false;
  std::string who;
  for (size_t t = 1; t < threads_.size(); ++t) {
    const thread& x = threads_[t];
    if (x.state == thread::is::done || x.daemon) continue;
    if (x.state == thread::is::yielded) spins = true;
    who += (who.empty() ? "" : "; ") + x.name + (x.state == thread::is::yielded ? " spins" : std::string(" waits for ") + x.why);
  }
  fail(spins ? outcome::livelock : outcome::deadlock, "nobody can go on: " + who);
}

void execution::schedule_point() {
  if (++steps_ > limits_.steps) fail(outcome::livelock, "more than " + std::to_string(limits_.steps) + " steps");
  if (current_ == 0 || preemptions_left_ == 0) return;
  collect(candidates_, current_);
  if (!candidates_.empty() && candidates_.back() == 0) candidates_.pop_back();
  if (candidates_.empty()) return;
  const uint32_t k = pick(static_cast<uint32_t>(candidates_.size()) + 1);
  if (k == 0) return;
  --preemptions_left_;
  switch_to(candidates_[k - 1]);
}

void execution::before_access(uintptr_t address, bool load) {
  // A thread that does nothing but look, and has seen the same twice, could as well have lost the processor then.
  if (load && threads_[static_cast<size_t>(current_)].same >= 2) {
    ++steps_;
    return;
  }
  if (all_shared_ || mem_.is_shared(address)) {
    schedule_point();
    return;
  }
  if (full_ != nullptr && current_ != 0 && preemptions_left_ > 0) {
    collect(candidates_, current_);
    if (!candidates_.empty() && candidates_.back() == 0) candidates_.pop_back();
    if (!candidates_.empty()) full_->push_back(0);
  }
  if (++steps_ > limits_.steps) {
    fail(outcome::livelock, "more than " + std::to_string(limits_.steps) + " steps");
  }
}

void execution::block(bool (*holds)(void*), void* arg, const char* why) {
  if (holds(arg)) return;
  thread& me = threads_[static_cast<size_t>(current_)];
  me.holds = holds;
  me.holds_arg = arg;
  me.why = why;
  me.state = thread::is::waiting;
  if (current_ != 0) record({step_record::wait, static_cast<uint8_t>(current_), 0, 0, false, 0, 0, 0, nullptr, why});
  leave(false);
}

void execution::yield() {
  if (++steps_ > limits_.steps) fail(outcome::livelock, "more than " + std::to_string(limits_.steps) + " steps");
  if (current_ == 0) return;
  collect(candidates_, current_);
  if (!candidates_.empty() && candidates_.back() == 0) candidates_.pop_back();
  if (candidates_.empty()) return;
  switch_to(candidates_[pick(static_cast<uint32_t>(candidates_.size()))]);
}

void execution::wrote() {
  thread& me = threads_[static_cast<size_t>(current_)];
  me.same = 0;
  me.fresh = false;
  for (auto& x : me.seen) x.address = 0;
}

void execution::looked(uintptr_t address, uint64_t value) {
  thread& me = threads_[static_cast<size_t>(current_)];
  const bool same = std::any_of(std::begin(me.seen), std::end(me.seen), [&](auto& x) { return x.address == address && x.value == value; });
  if (!same) {
    me.seen[me.next_seen++ % std::size(me.seen)] = {address, value};
    me.same = 0;
    me.fresh = false;
    return;
  }
  if (++me.same < kSameIsSpinning || current_ == 0) return;
  me.same = 0;
  if (!me.fresh) {
    me.fresh = true;
    return;
  }
  me.state = thread::is::yielded;
  me.yielded_at = mem_.stores();
  leave(false);
}

void execution::membarrier() {
  schedule_point();
  const int me = current_;
  record({step_record::membarrier, static_cast<uint8_t>(me), 0, 0, false, 0, 0, 0, nullptr, {}});
  mem_.begin_membarrier(me);
  for (int t = 1; t < static_cast<int>(threads_.size()); ++t) {
    if (t == me) continue;
    // Of one that has ended the processor may still hold stores back: nobody has waited for it.
    if (threads_[static_cast<size_t>(t)].state != thread::is::done) schedule_point();
    mem_.full_fence(t, true);
  }
  mem_.end_membarrier(me);
}

bool execution::futex_wait(uintptr_t address, uint32_t expected, int64_t timeout_ns, source_place place) {
  schedule_point();
  const int t = current_;
  mem_.full_fence(t, false);
  const uint64_t v = mem_.load(t, address, 4, 0, place);
  if (v != expected) {
    record({step_record::remark, static_cast<uint8_t>(t), 0, 0, false, address, 0, 0, place, "futex_wait: the word has changed"});
    return false;
  }
  {
    thread& me = threads_[static_cast<size_t>(t)];
    me.futex = address;
    me.woken = false;
    me.timed = timeout_ns >= 0;
  }
  record({step_record::remark, static_cast<uint8_t>(t), 0, 0, !mem_.read_newest(t), address, 0, 0, place, "futex_wait: sleeps"});
  struct sleep {
    execution* e;
    int t;
  } s{this, t};
  block([](void* p) { return static_cast<sleep*>(p)->e->threads_[static_cast<size_t>(static_cast<sleep*>(p)->t)].woken; }, &s,
        "a futex to be woken");
  thread& me = threads_[static_cast<size_t>(t)];
  me.futex = 0;
  me.timed = false;
  if (!me.woken) clock_ += timeout_ns;
  mem_.full_fence(t, false);
  return me.woken;
}

int execution::futex_wake(uintptr_t address, int count, source_place place) {
  schedule_point();
  mem_.full_fence(current_, false);
  int woken = 0;
  for (thread& x : threads_) {
    if (woken == count) break;
    if (x.futex != address || x.woken) continue;
    x.woken = true;
    ++woken;
  }
  record({step_record::wake, static_cast<uint8_t>(current_), 0, 0, false, address, static_cast<uint64_t>(woken), 0, place, {}});
  return woken;
}

// --- the seeded mistake ---------------------------------------------------------------------------------------------------------------

int execution::weakened(source_place place, int order, bool is_fence) {
  if (mistake_ == nullptr) return order;
  auto [it, fresh] = mistaken_.try_emplace(place, false);
  if (fresh) {
    const source_line l(place);
    it->second = l.file.ends_with(mistake_->file) && l.text.find(mistake_->text) != std::string::npos;
  }
  if (!it->second) return order;
  mistake_met_ = true;
  switch (mistake_->to) {
    case weakening::relaxed: return 0;
    case weakening::no_acquire: return order >= 4 ? 3 : order <= 2 ? 0 : order;
    case weakening::no_release: return order >= 4 ? 2 : order == 3 ? 0 : order;
    case weakening::dropped: return is_fence ? -1 : order;
  }
  return order;
}

// --- memory of the program ------------------------------------------------------------------------------------------------------------

void* execution::allocate(size_t size, size_t align) {
  const size_t at = (arena_used_ + std::max<size_t>(align, 64) - 1) & ~(std::max<size_t>(align, 64) - 1);
  if (at + size > kArena) fail(outcome::fatal, "the scenario allocates more than 16 MiB");
  arena_used_ = at + std::max<size_t>(size, 1);
  void* p = arena_ + at;
  memset(p, 0xa5, std::min<size_t>(size, 512));
  blocks_[p] = size;
  return p;
}

void execution::release(void* p, source_place place) {
  auto it = blocks_.find(p);
  if (it == blocks_.end()) fail_at(outcome::use_after_free, "memory freed twice, or by an address inside", place, nullptr);
  mem_.freed(current_, reinterpret_cast<uintptr_t>(p), it->second, place);
  blocks_.erase(it);
}

void execution::about_to_write(uintptr_t address, size_t size) {
  if (address < reinterpret_cast<uintptr_t>(__data_start) || address >= reinterpret_cast<uintptr_t>(_end)) return;
  for (uintptr_t a = address & ~uintptr_t{7}; a < address + size; a += 8) {
    uint64_t word;
    memcpy(&word, reinterpret_cast<const void*>(a), 8);
    globals_.push_back({a, word});
  }
}

void execution::undo_globals() {
  for (size_t i = globals_.size(); i-- > 0;) memcpy(reinterpret_cast<void*>(globals_[i].address), &globals_[i].word, 8);
  globals_.clear();
}

// --- the search -----------------------------------------------------------------------------------------------------------------------

void execution::run_one(void (*setup)(void*, scenario&), void* arg) {
  for (void (*fn)() : before_each) fn();
  threads_.clear();
  threads_.reserve(kMaxThreads);
  ends_.clear();
  names_.clear();
  blocks_.clear();
  steps_taken_.clear();
  arena_used_ = 0;
  steps_ = 0;
  clock_ = 1'000'000;
  position_ = 0;
  weak_left_ = limits_.memory == memory_model::sequential ? 0 : limits_.weak;
  failed_ = false;
  mem_.reset(limits_.memory);
  threads_.emplace_back();
  threads_[0].name = "setup";
  setup_ = setup;
  setup_arg_ = arg;
  current_ = 0;
  if (at_switch != nullptr) at_switch(0);
  active_ = true;
  depth = 1;
  void* sp = warren::rt::make_context(stacks_[0] + kStack - 64, &thread_main, nullptr);
  warren::rt::warren_context_switch(&driver_sp_, sp);
  active_ = false;
  depth = 0;
  undo_globals();
}

void execution::fail(outcome kind, std::string what) {
  depth = 1;
  failed_ = true;
  found_.kind = kind;
  found_.what = std::move(what);
  void* nowhere;
  warren::rt::warren_context_switch(&nowhere, driver_sp_);
  __builtin_unreachable();
}

void execution::fail_at(outcome kind, const char* what, source_place where, source_place other) {
  depth = 1;
  std::string s = what;
  s += ": " + thread_name(current_) + " at " + source_line(where).short_form();
  if (other != nullptr) s += ", freed at " + source_line(other).short_form();
  fail(kind, std::move(s));
}

result execution::search(void (*setup)(void*, scenario&), void* arg, const limits& l, const weakening* mistake) {
  limits_ = l;
  mistake_ = mistake;
  mistake_met_ = false;
  mistaken_.clear();
  mem_.forget_shared();
  found_ = result{};
  std::vector<uint16_t> replay;
  all_shared_ = l.replay != nullptr;
  if (all_shared_) replay = parse_schedule(l.replay);

  uint64_t executions = 0, longest = 0;
  // A schedule begins with the bound under which it was found: it decides where the questions are.
  const int first_bound = replay.empty() ? 0 : replay.front();
  const int last_bound = replay.empty() ? l.preemptions : first_bound;
  if (!replay.empty()) replay.erase(replay.begin());
  for (int bound = first_bound; bound <= last_bound; ++bound) {
    path_.clear();
    for (const uint16_t k : replay) path_.push_back({k, 0});
    for (;;) {
      preemptions_left_ = bound;
      run_one(setup, arg);
      ++executions;
      longest = std::max<uint64_t>(longest, steps_);
      if (failed_) {
        found_.executions = executions;
        found_.longest = longest;
        found_.preemptions = bound - preemptions_left_;
        // Which variables are shared decides where the questions are. The schedule that is printed is of an execution in which all are.
        std::vector<uint16_t> full;
        if (!all_shared_) {
          const result first = found_;
          path_.resize(position_);
          full_ = &full;
          preemptions_left_ = bound;
          run_one(setup, arg);
          full_ = nullptr;
          found_ = first;
        } else {
          full = replay;
        }
        found_.schedule = all_shared_ ? l.replay : std::to_string(bound) + "," + schedule_string(full);
        found_.trace = trace();
        return found_;
      }
      if (mem_.news() && !all_shared_) {
        path_.clear();
        continue;
      }
      if (executions >= l.executions) {
        found_.kind = outcome::unfinished;
        found_.what =
            "more executions than the limit of " + std::to_string(l.executions) + ": make the scenario smaller or the bounds tighter";
        found_.executions = executions;
        found_.longest = longest;
        return found_;
      }
      if (all_shared_ || !next_path()) break;
    }
  }
  found_.executions = executions;
  found_.longest = longest;
  if (mistake != nullptr && !mistake_met_) {
    found_.kind = outcome::unfinished;
    found_.what = std::string("no operation that was executed stands on a line of ") + mistake->file + " with: " + mistake->text;
  }
  return found_;
}

// --- reports --------------------------------------------------------------------------------------------------------------------------

void execution::record(step_record r) { steps_taken_.push_back(std::move(r)); }

std::string execution::describe_address(uintptr_t address) const {
  const auto it = names_.find(address);
  if (it != names_.end()) return it->second;
  char text[64];
  auto block = blocks_.upper_bound(reinterpret_cast<void*>(address));
  if (block != blocks_.begin()) {
    --block;
    const auto begin = reinterpret_cast<uintptr_t>(block->first);
    if (address < begin + block->second) {
      const auto named = names_.find(begin);
      if (named != names_.end()) {
        snprintf(text, sizeof text, "%s+%zu", named->second.c_str(), address - begin);
      } else {
        snprintf(text, sizeof text, "block%zu+%zu", static_cast<size_t>(std::distance(blocks_.begin(), block)), address - begin);
      }
      return text;
    }
  }
  for (size_t t = 0; t < threads_.size(); ++t) {
    const auto low = reinterpret_cast<uintptr_t>(stacks_[t]);
    if (address < low || address >= low + kStack) continue;
    snprintf(text, sizeof text, "stack of %s-%zu", threads_[t].name.c_str(), low + kStack - address);
    return text;
  }
  snprintf(text, sizeof text, "%#zx", address);
  return text;
}

std::string execution::trace() const {
  static const char* const orders[] = {"relaxed", "consume", "acquire", "release", "acq_rel", "seq_cst"};
  std::vector<const void*> places;
  for (const step_record& r : steps_taken_) places.push_back(r.place);
  source_line::look_up(places);
  std::string out;
  int before = -1;
  size_t number = 0;
  for (const step_record& r : steps_taken_) {
    ++number;
    if (r.thread == 0 && r.kind != step_record::remark) continue;
    if (r.thread != before) {
      out += "  -- " + thread_name(r.thread) + "\n";
      before = r.thread;
    }
    char line[256];
    const std::string where = r.address != 0 ? describe_address(r.address) : "";
    const char* order = r.order >= 0 && r.order <= 5 ? orders[r.order] : "";
    const auto b = static_cast<unsigned long long>(r.before), a = static_cast<unsigned long long>(r.after);
    switch (r.kind) {
      case step_record::load:
        snprintf(line, sizeof line, "%s -> %#llx%s (%s)", where.c_str(), b, r.old ? ", NOT THE NEWEST" : "", order);
        break;
      case step_record::store: snprintf(line, sizeof line, "%s = %#llx (%s)", where.c_str(), a, order); break;
      case step_record::modify: snprintf(line, sizeof line, "%s: %#llx -> %#llx (%s)", where.c_str(), b, a, order); break;
      case step_record::cas_done: snprintf(line, sizeof line, "%s: exchanged %#llx for %#llx (%s)", where.c_str(), b, a, order); break;
      case step_record::cas_failed:
        snprintf(line, sizeof line, "%s: not exchanged, is %#llx%s (%s)", where.c_str(), b,
                 r.old ? ", NOT THE NEWEST or for no reason" : "", order);
        break;
      case step_record::fence: snprintf(line, sizeof line, "fence (%s)", order); break;
      case step_record::wait: snprintf(line, sizeof line, "waits for %s", r.text.c_str()); break;
      case step_record::wake: snprintf(line, sizeof line, "futex_wake %s: %llu woken", where.c_str(), b); break;
      case step_record::birth: snprintf(line, sizeof line, "starts %s", thread_name(static_cast<int>(a)).c_str()); break;
      case step_record::end: snprintf(line, sizeof line, "ends"); break;
      case step_record::remark: snprintf(line, sizeof line, "%s%s%s", r.text.c_str(), where.empty() ? "" : " on ", where.c_str()); break;
      case step_record::membarrier: snprintf(line, sizeof line, "membarrier"); break;
    }
    char numbered[300];
    snprintf(numbered, sizeof numbered, "%5zu  %-60s", number, line);
    out += numbered;
    if (r.place != nullptr) {
      const source_line l(r.place);
      out += "  " + l.short_form() + "  " + l.text;
    }
    out += '\n';
  }
  return out;
}

std::ostream& operator<<(std::ostream& out, const result& r) {
  out << r.kind << (r.what.empty() ? "" : ": ") << r.what << " (" << r.executions << " executions, longest " << r.longest << " steps)";
  if (r.trace.empty()) return out;
  return out << "\nschedule with " << r.preemptions << " preemptions, for limits::replay: " << r.schedule << "\n" << r.trace;
}

// --- interleave.h ---------------------------------------------------------------------------------------------------------------------

void scenario::add_thread(const char* name, void (*fn)(void*), void* arg) {
  in_engine e;
  execution::get().spawn(name, fn, arg, false);
}
void scenario::add_end(void (*fn)(void*), void* arg) {
  in_engine e;
  execution::get().add_end(fn, arg);
}
void scenario::name(const volatile void* address, const char* name) {
  in_engine e;
  execution::get().name_variable(reinterpret_cast<uintptr_t>(address), name);
}

result explore_erased(void (*setup)(void*, scenario&), void* arg, const limits& l, const weakening* mistake) {
  return execution::get().search(setup, arg, l, mistake);
}

void before_each_execution(void (*fn)()) { execution::get().before_each.push_back(fn); }

void at_tgkill(void (*fn)(int)) { execution::get().at_tgkill = fn; }

void at_each_switch(void (*fn)(int)) { execution::get().at_switch = fn; }

void require(bool holds, const char* text) {
  if (!holds) fail(outcome::assertion, text);
}
void fail(outcome kind, const char* text) {
  execution& e = execution::get();
  e.depth = 1;
  e.fail(kind, text);
}
unsigned choose(unsigned n) {
  in_engine e;
  return execution::get().pick(n);
}
int current_thread() noexcept { return execution::get().current(); }
bool running() noexcept { return execution::get().active(); }
void step() {
  in_engine e;
  execution::get().schedule_point();
}
void yield() {
  in_engine e;
  execution::get().yield();
}
void wait_until(bool (*holds)(void*), void* arg, const char* why) {
  in_engine e;
  execution::get().schedule_point();
  execution::get().block(holds, arg, why);
}
void spawn(const char* name, void (*fn)(void*), void* arg, bool daemon) {
  in_engine e;
  execution::get().spawn(name, fn, arg, daemon);
}
void membarrier() {
  in_engine e;
  execution::get().membarrier();
}
int64_t now() noexcept { return execution::get().tick_clock(); }
void note(const char* format, ...) {
  in_engine e;
  char text[200];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  execution& x = execution::get();
  x.record({step_record::remark, static_cast<uint8_t>(x.current()), 0, 0, false, 0, 0, 0, nullptr, text});
}

void event::signal() {
  in_engine e;
  execution::get().schedule_point();
  view_ = execution::get().mem().carry(execution::get().current());
  set_ = true;
}
void event::wait(const char* why) {
  in_engine e;
  execution::get().block([](void* p) { return static_cast<event*>(p)->set_; }, this, why);
  execution::get().mem().receive(execution::get().current(), view_);
}

}  // namespace interleave

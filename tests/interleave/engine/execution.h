// One execution at a time, and the search over all of them. Internal to the engine: programs see interleave.h.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "interleave.h"
#include "memory.h"

namespace interleave {

// What happened, for the trace.
struct step_record {
  enum what : uint8_t { load, store, modify, cas_done, cas_failed, fence, wait, wake, birth, end, remark, membarrier } kind;
  uint8_t thread;
  uint8_t size;
  int8_t order;
  bool old;  // a load that did not see the newest value, a weak failure
  uintptr_t address;
  uint64_t before, after;
  source_place place;
  std::string text;
};

class execution {
 public:
  static execution& get() { return *(the_one_ != nullptr ? the_one_ : make()); }
  // Is it the program under test that runs now?
  static bool program_runs() noexcept { return the_one_ != nullptr && the_one_->active_ && the_one_->depth == 0; }

  result search(void (*setup)(void*, scenario&), void* arg, const limits& l, const weakening* mistake);

  // --- the program's side ---
  bool active() const noexcept { return active_; }
  int current() const noexcept { return current_; }
  memory& mem() noexcept { return mem_; }
  void before_access(uintptr_t address, bool load = false);  // a scheduling point, unless only one thread uses the variable
  void schedule_point();
  void block(bool (*holds)(void*), void* arg, const char* why);
  void yield();
  void looked(uintptr_t address, uint64_t value);  // by a load or a failed compare-exchange: spinning if nothing comes of it
  void wrote();
  uint32_t pick(uint32_t n);
  uint32_t pick_weak(uint32_t n);
  int spawn(const char* name, void (*fn)(void*), void* arg, bool daemon);
  void add_end(void (*fn)(void*), void* arg) { ends_.push_back({fn, arg}); }
  void name_variable(uintptr_t address, const char* name) { names_[address] = name; }
  void membarrier();
  int64_t tick_clock() noexcept { return clock_ += 1000; }
  [[noreturn]] void fail(outcome kind, std::string what);
  [[noreturn]] void fail_at(outcome kind, const char* what, source_place where, source_place other);
  void record(step_record r);
  void about_to_write(uintptr_t address, size_t size);  // remembers what globals held
  // Order of an operation after the seeded mistake. -1: leave it out.
  int weakened(source_place place, int order, bool is_fence);

  void* allocate(size_t size, size_t align);
  static bool owns(const void* p) noexcept { return the_one_ != nullptr && p >= the_one_->arena_ && p < the_one_->arena_ + kArena; }
  void release(void* p, source_place place);

  std::string thread_name(int t) const { return t < static_cast<int>(threads_.size()) ? threads_[static_cast<size_t>(t)].name : "?"; }
  std::string describe_address(uintptr_t address) const;

  std::vector<void (*)()> before_each;
  void (*at_switch)(int) = nullptr;
  void (*at_tgkill)(int) = nullptr;

  // The futex queue.
  bool futex_wait(uintptr_t address, uint32_t expected, int64_t timeout_ns, source_place place);  // < 0: none
  int futex_wake(uintptr_t address, int count, source_place place);

  int depth = 0;  // > 0: the engine itself is running, its accesses are not the program's

 private:
  static execution* the_one_;
  static execution* make();
  static constexpr size_t kArena = size_t{16} << 20;
  static constexpr size_t kStack = size_t{128} << 10;

  struct thread {
    std::string name;
    void* sp = nullptr;
    void (*fn)(void*) = nullptr;
    void* arg = nullptr;
    bool daemon = false;
    enum class is : uint8_t { ready, waiting, yielded, done } state = is::ready;
    bool (*holds)(void*) = nullptr;
    void* holds_arg = nullptr;
    const char* why = "";
    uint64_t yielded_at = 0;  // number of stores and steps of others then
    bool fresh = false;       // its next loads return the newest value
    uint32_t same = 0;        // loads in a row that brought nothing new
    struct {
      uintptr_t address;
      uint64_t value;
    } seen[4] = {};  // what the last loads gave
    uint32_t next_seen = 0;
    uintptr_t futex = 0;
    bool woken = false, timed = false;
  };
  struct choice {
    uint16_t taken, n;
  };
  struct finish {
    void (*fn)(void*);
    void* arg;
  };

  void run_one(void (*setup)(void*, scenario&), void* arg);
  bool enabled(size_t t);
  void switch_to(int t);
  void leave(bool counts_self);
  void collect(std::vector<int>& out, int but);
  [[noreturn]] static void thread_main(void* self);
  bool next_path();
  static std::string schedule_string(const std::vector<uint16_t>& answers);
  std::string trace() const;
  void undo_globals();
  void stuck();

  limits limits_;
  const weakening* mistake_ = nullptr;
  bool mistake_met_ = false;
  std::map<source_place, bool> mistaken_;

  memory mem_;
  std::vector<thread> threads_;
  std::vector<finish> ends_;
  std::vector<std::byte*> stacks_;
  std::vector<int> candidates_;
  std::vector<choice> path_;
  size_t position_ = 0;
  int preemptions_left_ = 0, weak_left_ = 0;
  int current_ = 0;
  bool active_ = false, failed_ = false;
  bool all_shared_ = false;                // a replay: every access is a question, so that the schedule does not depend on what was learned
  std::vector<uint16_t>* full_ = nullptr;  // the schedule for that, while a failure is repeated

  uint32_t steps_ = 0;
  int64_t clock_ = 0;
  void* driver_sp_ = nullptr;
  void (*setup_)(void*, scenario&) = nullptr;
  void* setup_arg_ = nullptr;
  result found_;
  std::vector<step_record> steps_taken_;
  std::map<uintptr_t, std::string> names_;
  std::byte* arena_ = nullptr;
  size_t arena_used_ = 0;
  std::map<void*, size_t> blocks_;
  struct saved {
    uintptr_t address;
    uint64_t word;
  };
  std::vector<saved> globals_;
};

// Marks engine code: what it reads and writes is not the program's.
struct in_engine {
  in_engine() noexcept { ++execution::get().depth; }
  ~in_engine() { --execution::get().depth; }
};

}  // namespace interleave

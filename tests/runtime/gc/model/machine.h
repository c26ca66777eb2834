// The model's steps: from a state, every state that one step of a goroutine or of the collector leads to.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "program.h"
#include "protocol.h"
#include "state.h"

namespace gcmodel {

enum class action : uint8_t {
  start,
  // of goroutine `who`
  allocate,     // a: local
  load,         // a: slot, b: local
  copy,         // a: from local, b: to local
  drop,         // a: local
  write_other,  // a: own local, or kMaxLocals for null
  read_other,   // a: own local
  begin,        // a: operation, b: slot, c: the new value; and its first instruction. make allocates first
  go_on,        // the next instruction
  drain,        // its buffered store becomes visible
  lose_p,
  get_p,
  end_goroutine,
  // of the collector
  collect,  // the whole collection (mode stw)
  set_flag,
  begin_marking,
  scan_stack,  // a: goroutine
  scan_cell,
  scan_field,     // a: object, b: field
  flush,          // a: P
  flush_in_turn,  // a: P
  terminate,
};
struct step {
  action what = action::start;
  uint8_t who = 0, a = 0, b = 0, c = 0;
};
struct successor {
  state to;
  step by;
};
using object_set = uint8_t;  // bit v for object v

class machine {
 public:
  machine(const rules& r, const world_size& w) : rules_(r), size_(w), program_(r) {}
  const rules& the_rules() const noexcept { return rules_; }
  const world_size& size() const noexcept { return size_; }
  const program& code() const noexcept { return program_; }

  state initial() const noexcept;
  // Appends all of them. They are not reduced (canonicalizer).
  void successors(const state& s, std::vector<successor>& out) const;

  // A thread that the runtime did not start: never stopped, never scanned.
  bool foreign(int who) const noexcept { return size_.foreign && who == 1; }

  // What a scan of a goroutine's stack and registers finds. The argument of an unfinished `go` lies in the closure, not on the stack.
  template <class F>
  void for_each_scanned(const state& s, int who, F&& visit) const {
    const goroutine& g = s.g[static_cast<size_t>(who)];
    for (const uint8_t v : g.local) visit(v);
    visit(value_of(g.ptr));
    if (g.op == operation::none || !rules_.registers_are_scanned) return;
    visit(g.old);
    visit(g.made);
    if (g.op != operation::go) visit(g.fresh);
    if (program_.store_ahead(g.op, g.pc)) visit(object_of(g.dst));
  }
  // What it can still use: without what only the barrier holds on to, and what a destroyed ptr left.
  template <class F>
  void for_each_usable(const state& s, int who, F&& visit) const {
    const goroutine& g = s.g[static_cast<size_t>(who)];
    for (const uint8_t v : g.local) visit(v);
    if (live(g.ptr)) visit(g.ptr);
    if (g.buffered_slot != kNoSlot && live(g.buffered_word)) visit(g.buffered_word);
    if (g.op == operation::go) visit(g.fresh);
    visit(g.made);
    if (g.op == operation::none || !program_.store_ahead(g.op, g.pc)) return;
    visit(g.fresh);
    visit(object_of(g.dst));
  }
  // What the operation under way will yet shade, if the flag stays set.
  template <class F>
  void for_each_pending(const state& s, int who, F&& visit) const {
    const goroutine& g = s.g[static_cast<size_t>(who)];
    if (g.op == operation::none || (program_.tested(g.op, g.pc) && !g.on) || g.spared) return;
    if (program_.ahead(g.op, g.pc, instruction::shade_old)) visit(g.old);
    if (program_.ahead(g.op, g.pc, instruction::shade_new)) visit(g.fresh);
  }
  // Is this goroutine's stack grey until the end, however often it is scanned?
  bool grey_for_ever() const noexcept {
    return rules_.mode == mode::dijkstra || (rules_.mode == mode::hybrid && size_.raw_capture == world_size::raw::flagged);
  }
  object_set reachable(const state& s) const noexcept;      // by the program
  object_set found_by_scan(const state& s) const noexcept;  // from all stacks, registers and the cell, as a marker would
  // Objects that can still influence something: reachable, or held by a register, or grey or to become so, or reachable from such.
  object_set needed(const state& s) const noexcept;
  // Frees all others. Returns the white ones among them.
  object_set drop_garbage(state& s) const noexcept;

 private:
  static void mark(state& s, uint8_t v) noexcept {
    if (s.white(v)) s.of(v) = colour::grey;
  }
  static void mark_set(state& s, object_set objects) noexcept {
    for (uint8_t v = 1; v <= kMaxObjects; ++v)
      if ((objects >> v & 1) != 0) mark(s, v);
  }
  static void drain(goroutine& g, state& s) noexcept;
  static void drain_all(state& s) noexcept;
  void scan(state& s, int who) const noexcept;
  bool can_run(const state& s, int who) const noexcept;
  bool busy(const state& s, int who, uint8_t slot) const noexcept;
  void shade(state& s, int who, uint8_t v) const noexcept;
  void allocate(state& s, uint8_t v) const noexcept;
  void execute(state& s, int who) const noexcept;
  void settle(state& s, int who) const noexcept;
  void mutate(const state& s, int who, std::vector<successor>& out) const;
  void collect(const state& s, std::vector<successor>& out) const;
  void set_flag(state& s) const noexcept;
  bool stacks_scanned(const state& s) const noexcept;
  void terminate(state& s) const noexcept;
  void finish(state& s) const noexcept;
  void trace_all(state& s) const noexcept;

  rules rules_;
  world_size size_;
  program program_;
};

}  // namespace gcmodel

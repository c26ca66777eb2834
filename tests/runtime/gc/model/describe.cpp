#include "describe.h"

#include <stdio.h>

namespace gcmodel {

namespace {

std::string object(uint8_t v) { return v == 0 ? "null" : std::string(1, static_cast<char>('A' + v - 1)); }
std::string local(uint8_t who, uint8_t k) { return std::string("G") + std::to_string(who) + "." + (k == 0 ? "x" : "y"); }

std::string slot(const machine& m, uint8_t s) {
  if (s == kCellSlot) return "root";
  if (s == kStackSlot || s == kStackSlot + 1) return std::string("G") + std::to_string(s - kStackSlot) + ".ptr";
  return object(object_of(s)) + (m.size().slots == 1 ? ".f" : s % kMaxSlots == 0 ? ".f" : ".g");
}

std::string operation_text(const machine& m, operation op, uint8_t s, uint8_t fresh) {
  switch (op) {
    case operation::none: break;
    case operation::assign: return slot(m, s) + " = " + object(fresh);
    case operation::construct: return "construct " + slot(m, s) + "(" + object(fresh) + ")";
    case operation::destroy: return "destroy " + slot(m, s);
    case operation::go: return "go(" + object(fresh) + ")";
    case operation::hand: return "hands over " + object(fresh);
    case operation::make: return "make " + object(object_of(s)) + "(" + object(fresh) + ")";
  }
  return "?";
}

// `before` is the goroutine that is about to execute the instruction.
std::string instruction_text(const machine& m, const state& before, uint8_t who, const goroutine& g, const state& after) {
  switch (m.code().at(g.op, g.pc)) {
    case instruction::end: return "?";
    case instruction::load_old:
      return "reads old value " + object(value_of(g.buffered_slot == g.dst ? g.buffered_word : before.word(g.dst)));
    case instruction::store:
      if (g.op == operation::hand) return "moves " + object(g.fresh) + " onto the stack of G" + std::to_string(1 - who);
      return "stores " + object(g.op == operation::destroy ? 0 : g.fresh) + " into " + slot(m, g.dst) +
             (m.size().store_buffers ? " (in its store buffer)" : "");
    case instruction::exchange: return "exchanges " + slot(m, g.dst) + " for " + object(g.fresh);
    case instruction::test_flag: return before.at == phase::off ? "tests the flag: off" : "tests the flag: on";
    case instruction::test_container:
      return after.g[who].spared || after.g[who].op == operation::none ? "tests the container's colour"
                                                                       : "tests the container's colour: black";
    case instruction::shade_old:
    case instruction::shade_new: {
      const uint8_t v = m.code().at(g.op, g.pc) == instruction::shade_old ? g.old : g.fresh;
      const char* const which = m.code().at(g.op, g.pc) == instruction::shade_old ? "old" : "new";
      return std::string("shades ") + which + " value " + object(v) +
             (before.at == phase::off ? " (no collection runs)"
              : g.has_p               ? " (into the buffer of its P)"
                                      : " (into the queue)");
    }
    case instruction::publish: return "puts the new goroutine into a run queue";
  }
  return "?";
}

std::string text(const machine& m, const state& before, const successor& n) {
  const step& t = n.by;
  const goroutine& g = before.g[t.who];
  const std::string me = "G" + std::to_string(t.who);
  switch (t.what) {
    case action::start: return "start";
    case action::allocate: return local(t.who, t.a) + " = make " + object(t.b);
    case action::load:
      return local(t.who, t.b) + " = " + slot(m, t.a) + "   (" +
             object(value_of(g.buffered_slot == t.a ? g.buffered_word : before.word(t.a))) + ")";
    case action::copy: return local(t.who, t.b) + " = " + local(t.who, t.a);
    case action::drop: return local(t.who, t.a) + " = null";
    case action::write_other: return local(1 - t.who, 0) + " = " + object(t.a) + "   (by " + me + ", through a reference, without barrier)";
    case action::read_other: return local(t.who, t.a) + " = " + local(1 - t.who, 0) + "   (through a reference)";
    case action::begin: {
      const auto op = static_cast<operation>(t.a);
      std::string line = me + ": " + operation_text(m, op, t.b, t.c);
      if (op == operation::go && m.the_rules().go_shades_and_publishes_in_one_bracket)
        return line + "   (flag tested, argument shaded, published)";
      goroutine at_start = g;
      at_start.op = op;
      at_start.dst = t.b;
      at_start.fresh = t.c;
      return line + " begins: " + instruction_text(m, before, t.who, at_start, n.to);
    }
    case action::go_on: return me + ": " + instruction_text(m, before, t.who, g, n.to);
    case action::drain: return me + ": its store to " + slot(m, g.buffered_slot) + " becomes visible";
    case action::lose_p: return me + " loses its P by signal and runs on";
    case action::get_p: return me + " gets a P again";
    case action::end_goroutine: return me + " ends";
    case action::collect: return "the world stands; all is marked, the rest freed";
    case action::set_flag: return n.to.at == phase::mark ? "the world stands; flag set; marking begins" : "the flag is set";
    case action::begin_marking: return m.the_rules().membarrier_after_flag ? "membarrier; marking begins" : "marking begins";
    case action::scan_stack: return "marker scans the stack and registers of G" + std::to_string(t.a) + ": it is black";
    case action::scan_cell: return "marker scans the root cell: " + object(before.cell);
    case action::scan_field: {
      const uint8_t word = before.field[t.a - 1][t.b];
      return "marker reads " + slot(m, slot_of(t.a, t.b)) + " = " + object(value_of(word)) +
             (n.to.of(t.a) == colour::black ? ": " + object(t.a) + " is black" : "");
    }
    case action::flush: return "the buffer of P" + std::to_string(t.a) + " is flushed";
    case action::flush_in_turn: return "nothing is grey; P" + std::to_string(t.a) + " flushes in its turn";
    case action::terminate:
      return n.to.at == phase::mark ? "the world stands; something is grey after all: marking goes on"
                                    : "the world stands; nothing is grey: the collection ends";
  }
  return "?";
}

std::string colours(const machine& m, const state& s) {
  if (s.at == phase::off || s.at == phase::lost) {
    std::string out;
    for (uint8_t v = 1; v <= kMaxObjects; ++v) {
      if (s.of(v) == colour::white && s.at == phase::lost) out += (out.empty() ? "freed: " : " ") + object(v);
      if (s.of(v) > colour::white && s.at == phase::off) out += (out.empty() ? "marked: " : " ") + object(v);
    }
    if (s.at == phase::lost) {
      const object_set in_use = m.reachable(s);
      std::string reachable;
      for (uint8_t v = 1; v <= kMaxObjects; ++v)
        if ((in_use >> v & 1) != 0 && s.white(v)) reachable += " " + object(v);
      out += "; still reachable:" + reachable;
    }
    return out;
  }
  std::string out;
  for (const colour c : {colour::white, colour::grey, colour::black}) {
    std::string names;
    for (uint8_t v = 1; v <= kMaxObjects; ++v)
      if (s.of(v) == c) names += object(v);
    if (!names.empty())
      out += std::string(out.empty() ? "" : ", ") + (c == colour::white ? "white " : c == colour::grey ? "grey " : "black ") + names;
  }
  return out;
}

}  // namespace

std::string describe(const machine& m, unsigned number, const state& before, const successor& n) {
  const std::string what = text(m, before, n), state_text = colours(m, n.to);
  char line[256];
  snprintf(line, sizeof line, "%3u  %-86s %s", number, what.c_str(), state_text.c_str());
  std::string out = line;
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out + '\n';
}

}  // namespace gcmodel

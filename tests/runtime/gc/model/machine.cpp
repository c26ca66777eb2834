#include "machine.h"

namespace gcmodel {

namespace {
constexpr object_set bit(uint8_t v) noexcept { return static_cast<object_set>(1u << v); }

// What can be reached from `from` through words that `follows` accepts.
template <class F>
object_set closure(const state& s, object_set from, F&& follows) noexcept {
  object_set seen = from & ~object_set{1};
  for (bool more = true; more;) {
    more = false;
    for (uint8_t v = 1; v <= kMaxObjects; ++v) {
      if ((seen & bit(v)) == 0) continue;
      for (const uint8_t word : s.field[v - 1]) {
        if (!follows(word) || value_of(word) == 0 || (seen & bit(value_of(word))) != 0) continue;
        seen |= bit(value_of(word));
        more = true;
      }
    }
  }
  return seen;
}
}  // namespace

state machine::initial() const noexcept {
  state s;
  s.g[0].alive = true;
  s.g[1].alive = !size_.go;
  return s;
}

object_set machine::reachable(const state& s) const noexcept {
  object_set from = bit(s.cell);
  for (int i = 0; i < kGoroutines; ++i)
    if (s.g[static_cast<size_t>(i)].alive) for_each_usable(s, i, [&](uint8_t v) { from |= bit(v); });
  return closure(s, from, [](uint8_t word) { return live(word); });
}

object_set machine::found_by_scan(const state& s) const noexcept {
  object_set from = bit(s.cell);
  for (int i = 0; i < kGoroutines; ++i)
    if (s.g[static_cast<size_t>(i)].alive) for_each_scanned(s, i, [&](uint8_t v) { from |= bit(v); });
  return closure(s, from, [](uint8_t) { return true; });
}

object_set machine::needed(const state& s) const noexcept {
  object_set from = bit(s.cell) | bit(s.scanning);
  for (const object_set b : s.buffer) from |= b;
  for (uint8_t v = 1; v <= kMaxObjects; ++v)
    if (s.of(v) == colour::grey) from |= bit(v);
  for (const goroutine& g : s.g) {
    for (const uint8_t v : g.local) from |= bit(v);
    from |= bit(value_of(g.ptr)) | bit(g.old) | bit(g.fresh) | bit(g.made) | bit(object_of(g.dst));
    from |= bit(object_of(g.buffered_slot)) | bit(value_of(g.buffered_word));
  }
  return closure(s, from, [](uint8_t) { return true; });
}

object_set machine::drop_garbage(state& s) const noexcept {
  const object_set keep = needed(s);
  object_set white = 0;
  for (uint8_t v = 1; v <= kMaxObjects; ++v) {
    if ((keep & bit(v)) != 0) continue;
    if (s.of(v) == colour::white) white |= bit(v);
    s.of(v) = colour::free;
    s.field[v - 1] = {};
  }
  // Buffers are kept as sets of white objects: for all others a flush has no effect.
  for (object_set& b : s.buffer)
    for (uint8_t v = 1; v <= kMaxObjects; ++v)
      if ((b & bit(v)) != 0 && !s.white(v)) b &= ~bit(v);
  return white;
}

void machine::drain(goroutine& g, state& s) noexcept {
  if (g.buffered_slot == kNoSlot) return;
  const uint8_t slot = g.buffered_slot, word = g.buffered_word;
  g.buffered_slot = kNoSlot;
  g.buffered_word = 0;
  s.word(slot) = word;
}
void machine::drain_all(state& s) noexcept {
  for (goroutine& g : s.g) drain(g, s);
}

// A goroutine that is scanned stands, and has executed a fence.
void machine::scan(state& s, int who) const noexcept {
  goroutine& g = s.g[static_cast<size_t>(who)];
  drain(g, s);
  for_each_scanned(s, who, [&](uint8_t v) { mark(s, v); });
  g.scanned = rules_.mode != mode::dijkstra;
  g.ran = false;
}

bool machine::can_run(const state& s, int who) const noexcept {
  const goroutine& g = s.g[static_cast<size_t>(who)];
  if (!g.alive || s.at == phase::lost) return false;
  if (s.g[static_cast<size_t>(1 - who)].op == operation::hand) return false;  // parked: it waits for the value
  if (foreign(who)) return true;
  return s.at != phase::flagged || rules_.begin == rules::flip::everybody_runs || !g.has_p;
}

// Would an access to the slot race with what the other goroutine is about?
bool machine::busy(const state& s, int who, uint8_t slot) const noexcept {
  const goroutine& other = s.g[static_cast<size_t>(1 - who)];
  if (size_.racing_writers) return false;
  if (other.buffered_slot == slot) return true;
  return other.op != operation::none && other.dst == slot && program_.store_ahead(other.op, other.pc);
}

void machine::shade(state& s, int who, uint8_t v) const noexcept {
  if (v == 0) return;
  if (s.at == phase::off && rules_.shade_tests_again) return;
  if (!s.white(v)) return;
  const auto w = static_cast<size_t>(who);
  if (s.at != phase::off && (s.g[w].has_p || size_.one_buffer)) {
    s.buffer[size_.one_buffer ? 0 : w] |= bit(v);
  } else {
    s.of(v) = colour::grey;
  }
}

void machine::allocate(state& s, uint8_t v) const noexcept {
  s.of(v) = rules_.allocate_black && s.at != phase::off ? colour::black : colour::white;
  for (int i = 0; i < size_.slots; ++i) s.field[v - 1][static_cast<size_t>(i)] = size_.lifetimes ? kDead : 0;
}

void machine::execute(state& s, int who) const noexcept {
  goroutine& g = s.g[static_cast<size_t>(who)];
  switch (program_.at(g.op, g.pc)) {
    case instruction::end: break;
    case instruction::load_old: g.old = value_of(g.buffered_slot == g.dst ? g.buffered_word : s.word(g.dst)); break;
    case instruction::store: {
      if (g.op == operation::hand) {
        s.g[static_cast<size_t>(1 - who)].local[0] = g.fresh;
        break;
      }
      const uint8_t word = g.op == operation::destroy ? kDead : g.fresh;
      drain(g, s);
      if (size_.store_buffers) {
        g.buffered_slot = g.dst;
        g.buffered_word = word;
      } else {
        s.word(g.dst) = word;
      }
      break;
    }
    case instruction::exchange:
      drain(g, s);
      g.old = value_of(s.word(g.dst));
      s.word(g.dst) = g.fresh;
      break;
    case instruction::test_flag: g.on = s.at == phase::flagged || s.at == phase::mark; break;
    case instruction::test_container:
      if (const uint8_t container = object_of(g.dst); container != 0) {
        g.spared = s.of(container) != colour::black;
      } else {
        g.spared = g.dst == kCellSlot ? !s.cell_scanned : !s.g[static_cast<size_t>(g.dst - kStackSlot)].scanned;
      }
      break;
    case instruction::shade_old: shade(s, who, g.old); break;
    case instruction::shade_new: shade(s, who, g.fresh); break;
    case instruction::publish: {
      goroutine& born = s.g[1];
      born = {};
      born.alive = true;
      born.local[0] = g.fresh;
      // Its stack holds nothing but what `go` has shaded: black, if stacks are scanned once and the list of stacks has been made.
      born.scanned = s.at == phase::mark && rules_.mode != mode::dijkstra;
      break;
    }
  }
  ++g.pc;
  settle(s, who);
}

// Skips instructions that have no effect, whenever they are executed; ends the operation after its last; forgets registers that are dead.
void machine::settle(state& s, int who) const noexcept {
  goroutine& g = s.g[static_cast<size_t>(who)];
  const auto no_shade = [&](uint8_t v) { return v == 0 || g.spared || (rules_.shade_tests_again && s.at == phase::mark && !s.white(v)); };
  for (;; ++g.pc) {
    const instruction i = program_.at(g.op, g.pc);
    if (i == instruction::end) {
      if (g.op == operation::make) g.local[0] = g.made;
      g.made = 0;
      g.op = operation::none;
      g.pc = 0;
      g.dst = kNoSlot;
      g.fresh = g.old = 0;
      g.on = g.spared = false;
      return;
    }
    if (program_.conditional(g.op, g.pc) && !g.on) continue;
    if (i == instruction::shade_old && no_shade(g.old)) continue;
    if (i == instruction::shade_new && no_shade(g.fresh)) continue;
    break;
  }
  const bool shades = !g.spared && (!program_.tested(g.op, g.pc) || g.on);
  const bool stores = program_.store_ahead(g.op, g.pc);
  if (!stores && !program_.ahead(g.op, g.pc, instruction::test_container)) g.dst = kNoSlot;
  if (!stores && g.op != operation::go && !(shades && program_.ahead(g.op, g.pc, instruction::shade_new))) g.fresh = 0;
  if (!(shades && program_.ahead(g.op, g.pc, instruction::shade_old))) g.old = 0;
}

void machine::mutate(const state& s, int who, std::vector<successor>& out) const {
  const auto w = static_cast<size_t>(who);
  const goroutine& g = s.g[w];
  const auto emit = [&](action what, uint8_t a, uint8_t b, uint8_t c, auto&& change) {
    out.push_back({s, {what, static_cast<uint8_t>(who), a, b, c}});
    state& to = out.back().to;
    change(to, to.g[w]);
    if (to.g[w].scanned) to.g[w].ran = true;
  };
  if (g.buffered_slot != kNoSlot) emit(action::drain, 0, 0, 0, [](state& to, goroutine& me) { drain(me, to); });
  if (size_.loses_p && g.has_p && g.op != operation::go) emit(action::lose_p, 0, 0, 0, [](state&, goroutine& me) { me.has_p = false; });
  if (g.op != operation::none) {
    emit(action::go_on, 0, 0, 0, [&](state& to, goroutine&) { execute(to, who); });
    return;
  }
  const auto begin = [&](operation op, uint8_t slot, uint8_t fresh) {
    emit(action::begin, static_cast<uint8_t>(op), slot, fresh, [&](state& to, goroutine& me) {
      me.op = op;
      me.dst = slot;
      me.fresh = fresh;
      if (op == operation::destroy) to.word(slot) |= kDead;
      if (op == operation::make) {
        me.made = object_of(slot);
        allocate(to, me.made);
      }
      settle(to, who);
      execute(to, who);
      if (op == operation::go && rules_.go_shades_and_publishes_in_one_bracket)
        while (to.g[w].op != operation::none) execute(to, who);
    });
  };
  if (foreign(who)) {
    if (s.cell != 0 && !busy(s, who, kCellSlot)) begin(operation::assign, kCellSlot, 0);
    return;
  }
  if (!g.has_p && (s.at != phase::flagged || rules_.begin == rules::flip::everybody_runs))
    emit(action::get_p, 0, 0, 0, [](state&, goroutine& me) { me.has_p = true; });

  const uint8_t locals = static_cast<uint8_t>(size_.locals);
  // The values it can store, each once.
  uint8_t values[kMaxLocals + 1];
  size_t value_count = 0;
  values[value_count++] = 0;
  for (uint8_t k = 0; k < locals; ++k) {
    bool known = false;
    for (size_t i = 0; i < value_count; ++i) known = known || values[i] == g.local[k];
    if (!known) values[value_count++] = g.local[k];
  }
  const auto use_slot = [&](uint8_t slot) {
    const uint8_t word = g.buffered_slot == slot ? g.buffered_word : s.word(slot);
    if (!live(word)) {
      if (!busy(s, who, slot))
        for (size_t i = 0; i < value_count; ++i) begin(operation::construct, slot, values[i]);
      return;
    }
    if (!busy(s, who, slot)) {
      for (uint8_t k = 0; k < locals; ++k)
        if (g.local[k] != word) emit(action::load, slot, k, 0, [&](state&, goroutine& me) { me.local[k] = word; });
      if (size_.lifetimes && slot != kCellSlot && g.buffered_slot != slot) begin(operation::destroy, slot, 0);
    }
    if (!busy(s, who, slot))
      for (size_t i = 0; i < value_count; ++i)
        if (values[i] != word || size_.racing_writers) begin(operation::assign, slot, values[i]);
  };
  // x->f, root->f, ptr->f
  object_set held = 0;
  for (const uint8_t v : g.local) held |= bit(v);
  const auto through = [&](uint8_t slot) {
    const uint8_t word = g.buffered_slot == slot ? g.buffered_word : s.word(slot);
    if (live(word) && !busy(s, who, slot)) held |= bit(word);
  };
  if (size_.cell) through(kCellSlot);
  if (size_.stack_ptr) through(static_cast<uint8_t>(kStackSlot + who));
  for (uint8_t v = 1; v <= kMaxObjects; ++v) {
    if ((held & bit(v)) == 0) continue;
    for (int i = 0; i < size_.slots; ++i) use_slot(slot_of(v, i));
  }
  if (size_.cell) use_slot(kCellSlot);
  if (size_.stack_ptr) {
    use_slot(static_cast<uint8_t>(kStackSlot + who));
    if (size_.captured && s.g[1 - w].alive) use_slot(static_cast<uint8_t>(kStackSlot + 1 - who));
  }

  if (g.has_p) {
    for (uint8_t v = 1; v <= size_.objects; ++v) {
      if (s.of(v) != colour::free) continue;
      for (uint8_t k = 0; k < locals; ++k) {
        emit(action::allocate, k, v, 0, [&](state& to, goroutine& me) {
          allocate(to, v);
          me.local[k] = v;
        });
      }
      for (size_t i = 0; i < value_count; ++i)
        if (values[i] != 0) begin(operation::make, slot_of(v, 0), values[i]);
      break;
    }
    if (size_.go && who == 0 && !s.g[1].alive) {
      for (size_t i = 0; i < value_count; ++i) {
        begin(operation::go, kNoSlot, values[i]);
        if (values[i] == 0) continue;
        // The argument is moved into the closure.
        state& to = out.back().to;
        for (uint8_t& v : to.g[w].local)
          if (v == values[i]) v = 0;
      }
    }
  }
  if (size_.raw_capture != world_size::raw::none && s.g[1 - w].alive) {
    for (size_t i = 0; i < value_count; ++i)
      if (s.g[1 - w].local[0] != values[i])
        emit(action::write_other, values[i], 0, 0, [&](state& to, goroutine&) { to.g[1 - w].local[0] = values[i]; });
    for (uint8_t k = 0; k < locals; ++k)
      if (g.local[k] != s.g[1 - w].local[0])
        emit(action::read_other, k, 0, 0, [&](state& to, goroutine& me) { me.local[k] = to.g[1 - w].local[0]; });
  }
  if (const goroutine& other = s.g[1 - w];
      size_.hands_over && other.alive && other.has_p && other.op == operation::none && other.buffered_slot == kNoSlot)
    for (size_t i = 0; i < value_count; ++i)
      if (values[i] != 0 && values[i] != other.local[0]) begin(operation::hand, kNoSlot, values[i]);
  for (uint8_t k = 0; k < locals; ++k) {
    if (g.local[k] != 0) emit(action::drop, k, 0, 0, [&](state&, goroutine& me) { me.local[k] = 0; });
    for (uint8_t from = 0; from < locals; ++from)
      if (g.local[from] != 0 && g.local[from] != g.local[k])
        emit(action::copy, from, k, 0, [&](state&, goroutine& me) { me.local[k] = me.local[from]; });
  }
  if (size_.go && who == 1 && !live(g.ptr) && g.buffered_slot == kNoSlot)
    emit(action::end_goroutine, 0, 0, 0, [&](state&, goroutine& me) { me = {}; });
}

void machine::set_flag(state& s) const noexcept {
  // Queues begin empty. An object that was marked since the last collection (by a mistake) counts as visited.
  for (colour& c : s.colour_of)
    if (c == colour::grey) c = colour::black;
  const bool everybody = rules_.begin == rules::flip::everybody_stands;
  for (int i = 0; i < kGoroutines; ++i) {
    goroutine& g = s.g[static_cast<size_t>(i)];
    const bool stands = everybody || (rules_.begin == rules::flip::those_without_p_run && g.has_p);
    if (!g.alive || !stands || foreign(i)) continue;
    drain(g, s);
    if (rules_.mode == mode::yuasa) scan(s, i);
  }
  s.at = everybody ? phase::mark : phase::flagged;
}

void machine::trace_all(state& s) const noexcept {
  for (bool more = true; more;) {
    more = false;
    for (uint8_t v = 1; v <= kMaxObjects; ++v) {
      if (s.of(v) != colour::grey) continue;
      for (const uint8_t word : s.field[v - 1]) mark(s, value_of(word));
      s.of(v) = colour::black;
      more = true;
    }
  }
  s.scanning = s.scanned_fields = 0;
}

bool machine::stacks_scanned(const state& s) const noexcept {
  if (rules_.mode == mode::dijkstra) return true;
  for (int i = 0; i < kGoroutines; ++i)
    if (const goroutine& g = s.g[static_cast<size_t>(i)]; g.alive && !g.scanned && !foreign(i)) return false;
  return true;
}

// Stop of the world number two, everybody held. Either something is grey after all, and marking goes on, or the collection ends.
void machine::terminate(state& s) const noexcept {
  const bool was_grey = s.any_grey();
  drain_all(s);
  state greyer = s;
  if (rules_.second_flush)
    for (const object_set b : s.buffer) mark_set(greyer, b);
  for (int i = 0; i < kGoroutines; ++i) {
    const goroutine& g = s.g[static_cast<size_t>(i)];
    if (!g.alive || foreign(i)) continue;
    const bool waits = rules_.slow_path_may_park && !g.has_p && g.on;
    const bool interrupted = !waits && (!g.has_p || g.op != operation::none);
    const bool flagged = rules_.mode == mode::hybrid && size_.raw_capture == world_size::raw::flagged;
    if (rules_.mode == mode::dijkstra || (rules_.rescan_interrupted && interrupted && g.ran) ||
        (flagged && (rules_.rescan_flagged == rules::rescan::always || (rules_.rescan_flagged == rules::rescan::if_it_ran && g.ran))))
      scan(greyer, i);
  }
  bool found = was_grey && rules_.looks_at_the_queue_again;
  for (uint8_t v = 1; v <= kMaxObjects; ++v) found = found || (s.white(v) && greyer.of(v) == colour::grey);
  s = greyer;
  s.ragged = 0;
  if (rules_.mode == mode::dijkstra) {
    trace_all(s);
  } else if (found) {
    return;
  }
  finish(s);
}

// Frees what is white; or reports that the program could still reach it.
void machine::finish(state& s) const noexcept {
  const object_set in_use = reachable(s);
  object_set dead = 0;
  for (uint8_t v = 1; v <= kMaxObjects; ++v)
    if (s.white(v)) dead |= bit(v);
  if ((in_use & dead) != 0) {
    s.at = phase::lost;
    return;
  }
  s.at = phase::off;
  s.cell_scanned = false;
  s.buffer = {};
  s.scanning = s.scanned_fields = 0;
  for (uint8_t v = 1; v <= kMaxObjects; ++v) {
    if (s.of(v) == colour::free) continue;
    s.of(v) = (dead & bit(v)) != 0 ? colour::free : colour::white;
    if (s.of(v) == colour::free) s.field[v - 1] = {};
  }
  const auto forget = [dead](uint8_t& word) {
    if ((dead & bit(value_of(word))) != 0) word &= kDead;
  };
  for (auto& fields : s.field)
    for (uint8_t& word : fields) forget(word);
  for (goroutine& g : s.g) {
    g.scanned = g.ran = false;
    forget(g.ptr);
    forget(g.old);
    forget(g.fresh);
  }
}

void machine::collect(const state& s, std::vector<successor>& out) const {
  const auto emit = [&](action what, uint8_t a, uint8_t b, auto&& change) {
    out.push_back({s, {what, 0, a, b, 0}});
    change(out.back().to);
  };
  // The roots' lock is taken by somebody who will not be held.
  const bool locked_out = size_.foreign && rules_.collector_locks_roots && s.g[1].op != operation::none;
  if (s.at == phase::off) {
    if (locked_out) return;
    if (rules_.mode != mode::stw) {
      emit(action::set_flag, 0, 0, [&](state& to) { set_flag(to); });
      return;
    }
    emit(action::collect, 0, 0, [&](state& to) {
      drain_all(to);
      for (int i = 0; i < kGoroutines; ++i)
        if (to.g[static_cast<size_t>(i)].alive && !foreign(i)) scan(to, i);
      mark(to, to.cell);
      trace_all(to);
      finish(to);
    });
    return;
  }
  if (s.at == phase::flagged) {
    emit(action::begin_marking, 0, 0, [&](state& to) {
      if (rules_.membarrier_after_flag) drain_all(to);
      to.at = phase::mark;
    });
    return;
  }
  if (s.at != phase::mark) return;

  if (rules_.mode != mode::dijkstra)
    for (uint8_t i = 0; i < kGoroutines; ++i)
      if (s.g[i].alive && !s.g[i].scanned && !foreign(i)) emit(action::scan_stack, i, 0, [&](state& to) { scan(to, i); });
  const bool cell_done = !size_.cell || s.cell_scanned;
  if (!cell_done && !locked_out) {
    emit(action::scan_cell, 0, 0, [&](state& to) {
      mark(to, to.cell);
      to.cell_scanned = true;
    });
  }
  for (uint8_t v = 1; v <= kMaxObjects; ++v) {
    if (s.of(v) != colour::grey || (s.scanning != 0 && s.scanning != v)) continue;
    const uint8_t field = s.scanning == 0 ? 0 : s.scanned_fields;
    emit(action::scan_field, v, field, [&](state& to) {
      mark(to, value_of(to.field[v - 1][field]));
      if (field + 1 == size_.slots) {
        to.of(v) = colour::black;
        to.scanning = to.scanned_fields = 0;
      } else {
        to.scanning = v;
        to.scanned_fields = static_cast<uint8_t>(field + 1);
      }
    });
  }
  if (size_.one_buffer) {
    for (uint8_t v = 1; v <= kMaxObjects; ++v)
      if ((s.buffer[0] & bit(v)) != 0) {
        emit(action::flush, 0, 0, [&](state& to) {
          mark(to, v);
          to.buffer[0] &= ~bit(v);
        });
      }
    if (!s.any_grey() && cell_done && stacks_scanned(s) && !locked_out) emit(action::terminate, 0, 0, [&](state& to) { terminate(to); });
    return;
  }
  for (uint8_t p = 0; p < kGoroutines; ++p)
    if (s.buffer[p] != 0) {
      emit(action::flush, p, 0, [&](state& to) {
        mark_set(to, to.buffer[p]);
        to.buffer[p] = 0;
      });
    }
  if (s.ragged == 3) {
    if (!locked_out) emit(action::terminate, 0, 0, [&](state& to) { terminate(to); });
  } else if (s.ragged != 0 || (!s.any_grey() && cell_done && stacks_scanned(s))) {
    for (uint8_t p = 0; p < kGoroutines; ++p) {
      if ((s.ragged >> p & 1) != 0) continue;
      emit(action::flush_in_turn, p, 0, [&](state& to) {
        const bool had = to.buffer[p] != 0;
        mark_set(to, to.buffer[p]);
        to.buffer[p] = 0;
        to.ragged = static_cast<uint8_t>(had ? 0 : to.ragged | 1u << p);
      });
    }
  }
}

void machine::successors(const state& s, std::vector<successor>& out) const {
  for (int i = 0; i < kGoroutines; ++i)
    if (can_run(s, i)) mutate(s, i, out);
  collect(s, out);
}

}  // namespace gcmodel

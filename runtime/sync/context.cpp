// Contexts: a tree of cancel_states, along which ends travel, threaded by value_nodes, which only answer for values.
//
//   context handle → context_node ──parent──→ context_node …      the chain that value() climbs
//                        └──canceller──→ cancel_state             the nearest one above that can end: err(), done(), deadline()
//   cancel_state: children, an intrusive list of cancel_states (their `next`, `prev`), and done, made when first asked for
//
// Who is kept by whom. A child leads to its parent by `parent`; a parent to its children by the list, until it or they end: so a function
// of after_func, a pending deadline and a child whose handle is gone all live as long as the context above them. All of it is collected
// memory; nothing is kept by anything outside but an armed deadline, by its newborn (runtime/sync/deferred_go.h).
//
// Locks. Every cancel_state has one; no two are ever held together. It guards `done`, `children`, the links of its children, the timer.
// `ended` goes from 0 to the reason, once, under the lock; it is read without it. The cause is written before.
//
// Ending. In Go, cancel calls itself for the children with the parent's lock held: the depth of the tree is the depth of the stack, and a
// wide tree is walked under its root's lock. Here the stack does not grow; a chain of a million contexts must not overflow it. So: under a
// state's lock, mark it ended and move its children to a list of work, clearing their `linked`; without it, close done, start the function;
// go on with the list. A child in the list of work belongs to who put it there: its `next` is free to use since `linked` is false, which
// whoever else wants to unlink the child looks at under the parent's lock. The child may well have been ended by its own cancel meanwhile;
// it is passed over then. New children of an ended state are not linked but ended at once.
// The work list is reached from this goroutine's stack: that is why threads outside must not do this (nobody scans their stacks).
//
// Failures. An end goes through to its end: if a function of after_func cannot be started (no memory for a goroutine), the rest of the tree
// is ended all the same, and then whoever cancelled gets the std::bad_alloc. What makes a context takes all the memory it needs before the
// parent knows of it; only the timer's place in the heap comes later, and without that the context is taken out again.
//
// A deadline's end is not worked off on the scheduler's stack, where timers fire, but on a goroutine, since a tree may be large. Nearly no
// deadline ever fires: what counts is that arming and stopping are cheap.
#include "warren/context.h"

#include <atomic>
#include <exception>
#include <mutex>
#include <string>

#include "runtime/sched/in_rt.h"
#include "runtime/sync/deferred_go.h"
#include "runtime/sync/hchan.h"
#include "runtime/sync/in_collected.h"
#include "runtime/sync/run_timer.h"
#include "runtime/sync/test_point.h"
#include "warren/go.h"
#include "warren/select.h"

namespace warren {

namespace {
class category final : public std::error_category {
  const char* name() const noexcept override { return "warren.context"; }
  std::string message(int e) const override {
    switch (static_cast<context_errc>(e)) {
      case context_errc::canceled: return "context canceled";
      case context_errc::deadline_exceeded: return "context deadline exceeded";
    }
    return "unknown context error";
  }
  std::error_condition default_error_condition(int e) const noexcept override {
    switch (static_cast<context_errc>(e)) {
      case context_errc::canceled: return std::errc::operation_canceled;
      case context_errc::deadline_exceeded: return std::errc::timed_out;
    }
    return {e, *this};
  }
};
constinit const category the_category;
}  // namespace

const std::error_category& context_category() noexcept { return the_category; }

namespace detail {

struct context_node {
  context_node(const ptr<context_node>& p, const ptr<cancel_state>& c) noexcept : parent(p), canceller(c) {}
  context_node(const context_node&) = delete;

  const ptr<context_node> parent;     // null: the background
  const ptr<cancel_state> canceller;  // null: never ends. A cancel_state's own is itself
  // The one value of a value_node.
  const uintptr_t key = 0;
  const ptr<void> value = nullptr;

  context_node(const ptr<context_node>& p, const ptr<cancel_state>& c, const void* k, const ptr<void>& v) noexcept
      : parent(p), canceller(c), key(reinterpret_cast<uintptr_t>(k)), value(v) {}
  WARREN_FIELDS(parent, canceller, key, value);
};

// An exception lies in memory of its own, which is to be freed.
struct boxed_exception {
  using collected = finalized_with<noscan>;
  std::exception_ptr exception;
};

struct cause_of_end {
  std::error_code code;
  ptr<boxed_exception> exception;
};

}  // namespace detail
}  // namespace warren

template <>
struct warren::collected_as<std::error_code> {
  using collected = warren::noscan;
};

namespace warren {
namespace detail {

struct cancel_state : context_node {
  explicit cancel_state(const context_node* above, const boxed_function& f = {}) noexcept
      : context_node(ptr<context_node>(const_cast<context_node*>(above)), ptr<cancel_state>(this)),
        upper(above == nullptr ? ptr<cancel_state>() : above->canceller),
        deadline_ns(upper == nullptr ? 0 : upper->deadline_ns),
        function(f) {}

  // The next above that can end; null if there is none. Has this one in its list while `linked`.
  const ptr<cancel_state> upper;
  int64_t deadline_ns;  // nanotime; 0: none. Constant once a handle exists

  rt::mutex lock;
  std::atomic<uint32_t> ended{0};  // a context_errc. Release: what the ender wrote before, its cause above all, is there
  // Guarded by upper->lock.
  bool linked = false;
  ptr<cancel_state> next, prev;
  // Guarded by lock.
  std::atomic<bool> done_made{false};  // release, after done was written: lets done() look without the lock
  bool armed = false;
  ptr<hchan> done;
  ptr<cancel_state> children;
  // Written once, before `ended`.
  cause_of_end cause;

  const boxed_function function;  // of after_func: started by the end. Constant

  WARREN_FIELDS_WITH_BASE(context_node, upper, deadline_ns, lock, ended, linked, next, prev, done_made, armed, done, children, cause,
                          function);
};

struct deadline_state : cancel_state {
  deadline_state(const context_node* above, int64_t when, std::error_code c) noexcept : cancel_state(above), late(c) { deadline_ns = when; }
  run_timer timer;             // guarded by lock
  const std::error_code late;  // the cause, if it comes to that

  WARREN_FIELDS_WITH_BASE(cancel_state, timer, late);
};

namespace {

void unlink_locked(cancel_state& parent, cancel_state& child) noexcept {
  if (child.prev != nullptr) {
    child.prev->next = child.next;
  } else {
    parent.children = child.next;
  }
  if (child.next != nullptr) child.next->prev = child.prev;
  child.next = child.prev = nullptr;
  child.linked = false;
}

// Ends one state; its children go to the front of `work`. false: it had ended. *failure: why its function was not started, if so.
bool end_one(cancel_state* s, context_errc why, const cause_of_end& cause, bool call, ptr<cancel_state>* work,
             std::exception_ptr* failure) noexcept {
  ptr<hchan> done;
  newborn* timer = nullptr;
  {
    std::lock_guard hold(s->lock);
    if (s->ended.load(std::memory_order_relaxed) != 0) return false;
    s->cause = cause;
    s->ended.store(static_cast<uint32_t>(why), std::memory_order_release);
    done = s->done;
    if (s->armed) {
      s->armed = false;
      auto* d = static_cast<deadline_state*>(s);
      if (d->timer.stop()) timer = static_cast<newborn*>(d->timer.arg());
    }
    for (cancel_state* c = s->children.get(); c != nullptr;) {
      cancel_state* const following = c->next.get();
      c->linked = false;
      c->prev = nullptr;
      c->next = *work;
      *work = ptr<cancel_state>(c);
      c = following;
    }
    s->children = nullptr;
  }
  WARREN_SYNC_POINT();
  if (timer != nullptr) drop_deferred(timer);
  if (done != nullptr) closechan(done.get());
  if (call && s->function) {
    try {
      go([f = s->function] { f(); });
    } catch (...) {
      *failure = std::current_exception();
    }
  }
  return true;
}

// The one above does not know s any more.
void detach(cancel_state* s) noexcept {
  if (s->upper == nullptr) return;
  std::lock_guard hold(s->upper->lock);
  if (s->linked) unlink_locked(*s->upper, *s);
}

// Ends s and everything below it. Throws, when all that is done, if the function of one could not be started.
void end(const ptr<cancel_state>& s, context_errc why, const cause_of_end& cause) {
  ptr<cancel_state> work;
  std::exception_ptr failure;
  if (!end_one(s.get(), why, cause, true, &work, &failure)) return;
  detach(s.get());
  while (work != nullptr) {
    const ptr<cancel_state> child = work;
    work = child->next;
    child->next = nullptr;
    WARREN_SYNC_POINT();
    end_one(child.get(), why, cause, true, &work, &failure);
  }
  if (failure != nullptr) std::rethrow_exception(failure);
}

// Makes s known to the one above, or ends it if that has ended.
void attach(const ptr<cancel_state>& s) {
  cancel_state* const upper = s->upper.get();
  if (upper == nullptr) return;
  {
    std::lock_guard hold(upper->lock);
    if (upper->ended.load(std::memory_order_relaxed) == 0) {
      s->next = upper->children;
      if (s->next != nullptr) s->next->prev = s;
      upper->children = s;
      s->linked = true;
      return;
    }
  }
  end(s, static_cast<context_errc>(upper->ended.load(std::memory_order_relaxed)), upper->cause);
}

void must_be_on_goroutine(const char* what) { must_getg(what); }

}  // namespace

ptr<context_node> new_value_node(const ptr<context_node>& parent, const void* key, const ptr<void>& value) {
  return make<context_node>(parent, parent == nullptr ? ptr<cancel_state>() : parent->canceller, key, value);
}

const void* find_value(const context_node* n, const void* key) noexcept {
  for (; n != nullptr; n = n->parent.get()) {
    if (n->key == reinterpret_cast<uintptr_t>(key)) return n->value.get();
  }
  return nullptr;
}

struct context_access {
  static context_node* node(const context& c) noexcept { return c.n_.get(); }
  static cancel_state* canceller(const context& c) noexcept { return canceller(c.n_.get()); }
  static cancel_state* canceller(const context_node* n) noexcept { return n == nullptr ? nullptr : n->canceller.get(); }
  static context wrap(const ptr<context_node>& n) noexcept { return context(n); }
  template <class Cancel>
  static cancellable<Cancel> both(const ptr<cancel_state>& s) noexcept {
    return {context(s), Cancel(s)};
  }
  static context_hook hook(const ptr<cancel_state>& s) noexcept { return context_hook(s); }

  static std::error_code err(const context_node* n) noexcept {
    const cancel_state* s = canceller(n);
    const uint32_t e = s == nullptr ? 0 : s->ended.load(std::memory_order_acquire);
    return e == 0 ? std::error_code() : make_error_code(static_cast<context_errc>(e));
  }
  static std::optional<context::clock::time_point> deadline(const context_node* n) noexcept {
    const cancel_state* s = canceller(n);
    if (s == nullptr || s->deadline_ns == 0) return std::nullopt;
    return context::clock::time_point(std::chrono::nanoseconds(s->deadline_ns));
  }
};

context_hook call_after(const context& ctx, const boxed_function& f) {
  const ptr<cancel_state> s = make<cancel_state>(context_access::node(ctx), f);
  attach(s);
  return context_access::hook(s);
}

}  // namespace detail

using detail::context_access;

std::error_code context::err() const noexcept { return context_access::err(n_.get()); }
std::optional<context::clock::time_point> context::deadline() const noexcept { return context_access::deadline(n_.get()); }
std::error_code root_context::err() const noexcept { return context_access::err(n_.get()); }
std::optional<context::clock::time_point> root_context::deadline() const noexcept { return context_access::deadline(n_.get()); }

std::error_code context::cause() const noexcept {
  const std::error_code e = err();
  if (!e) return e;
  const std::error_code c = context_access::canceller(*this)->cause.code;
  return c ? c : e;
}

std::exception_ptr context::exception() const {
  if (!err()) return nullptr;
  const detail::boxed_exception* e = context_access::canceller(*this)->cause.exception.get();
  return e == nullptr ? nullptr : e->exception;
}

void context::check() const {
  if (!err()) return;
  if (const std::exception_ptr e = exception()) std::rethrow_exception(e);
  throw std::system_error(cause());
}

chan<unit> context::done() const {
  detail::cancel_state* const s = context_access::canceller(*this);
  if (s == nullptr) return {};
  const auto handle = [s] { return detail::chan_access::wrap<chan<unit>>(s->done); };
  if (s->done_made.load(std::memory_order_acquire)) return handle();
  chan<unit> fresh = make_chan<unit>();  // may collect: not under the lock
  bool ended;
  {
    std::lock_guard hold(s->lock);
    if (s->done_made.load(std::memory_order_relaxed)) return handle();
    s->done = ptr<detail::hchan>(fresh.raw());
    s->done_made.store(true, std::memory_order_release);
    ended = s->ended.load(std::memory_order_relaxed) != 0;
  }
  if (ended) fresh.close();  // who ended it found no channel to close
  return fresh;
}

namespace {
void cancel(const ptr<detail::cancel_state>& s, const detail::cause_of_end& cause) {
  if (s == nullptr) return;
  detail::must_be_on_goroutine("cancelling a context");
  detail::end(s, context_errc::canceled, cause);
}
}  // namespace

void cancel_func::operator()() const { cancel(s_, {}); }
void cancel_cause_func::operator()(std::error_code cause) const { cancel(s_, {cause, nullptr}); }
void cancel_cause_func::operator()(const std::exception_ptr& cause) const {
  if (s_ == nullptr || s_->ended.load(std::memory_order_relaxed) != 0) return;
  cancel(s_, {{}, cause == nullptr ? nullptr : make<detail::boxed_exception>(detail::boxed_exception{cause})});
}

cancellable<cancel_func> with_cancel(const context& parent) {
  const ptr<detail::cancel_state> s = make<detail::cancel_state>(context_access::node(parent));
  detail::attach(s);
  return context_access::both<cancel_func>(s);
}

cancellable<cancel_cause_func> with_cancel_cause(const context& parent) {
  const ptr<detail::cancel_state> s = make<detail::cancel_state>(context_access::node(parent));
  detail::attach(s);
  return context_access::both<cancel_cause_func>(s);
}

namespace {
cancellable<cancel_func> with_deadline_at(const context& parent, int64_t when, std::error_code cause) {
  const detail::cancel_state* upper = context_access::canceller(parent);
  if (upper != nullptr && upper->deadline_ns != 0 && upper->deadline_ns <= when) return with_cancel(parent);
  if (when <= 0) when = 1;  // 0 says that there is none
  const ptr<detail::deadline_state> s = make<detail::deadline_state>(context_access::node(parent), when, cause);
  if (when <= rt::nanotime()) {
    detail::attach(s);
    detail::end(s, context_errc::deadline_exceeded, {cause, nullptr});
    return context_access::both<cancel_func>(s);
  }
  detail::newborn* nb = detail::defer_goroutine(ptr<void>(static_cast<void*>(s.get())), [](void* self) {
    const ptr<detail::deadline_state> s(static_cast<detail::deadline_state*>(self));
    detail::end(s, context_errc::deadline_exceeded, {s->late, nullptr});
  });
  detail::attach(s);
  try {
    std::lock_guard hold(s->lock);
    if (s->ended.load(std::memory_order_relaxed) == 0) {
      s->timer.start([](void* n, uintptr_t) { detail::start_deferred(static_cast<detail::newborn*>(n)); }, nb, 0, when, 0);
      s->armed = true;  // if it has fired already, its goroutine waits for the lock
      nb = nullptr;
    }
  } catch (...) {  // the heap of timers cannot grow
    detail::detach(s.get());
    detail::drop_deferred(nb);
    throw;
  }
  if (nb != nullptr) detail::drop_deferred(nb);
  return context_access::both<cancel_func>(s);
}
}  // namespace

cancellable<cancel_func> with_deadline(const context& parent, context::clock::time_point d, std::error_code cause) {
  return with_deadline_at(parent, std::chrono::nanoseconds(d.time_since_epoch()).count(), cause);
}

cancellable<cancel_func> with_timeout(const context& parent, std::chrono::nanoseconds d, std::error_code cause) {
  return with_deadline_at(parent, detail::time_from_now(d.count()), cause);
}

context without_cancel(const context& parent) {
  detail::context_node* const n = context_access::node(parent);
  if (n == nullptr) return {};
  return context_access::wrap(make<detail::context_node>(ptr<detail::context_node>(n), ptr<detail::cancel_state>()));
}

bool context_hook::stop() const {
  if (s_ == nullptr) return false;
  detail::must_be_on_goroutine("context_hook::stop");
  ptr<detail::cancel_state> none;
  std::exception_ptr nothing_is_started;
  if (!detail::end_one(s_.get(), context_errc::canceled, {}, false, &none, &nothing_is_started)) return false;
  detail::detach(s_.get());
  return true;
}

std::error_code sleep(const context& ctx, std::chrono::nanoseconds d) {
  if (const std::error_code e = ctx.err()) return e;
  if (d.count() <= 0) return {};
  const chan<unit> done = ctx.done();
  if (!done) {
    sleep(d);
    return {};
  }
  select(recv(done), after(d));
  return ctx.err();
}

}  // namespace warren

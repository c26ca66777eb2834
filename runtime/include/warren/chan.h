// Channels: typed queues between goroutines, with Go's semantics.
#pragma once
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include "warren/ptr.h"

namespace warren {

// The element of a channel that carries no value, only an event: chan<unit> done.
struct unit {
  friend constexpr bool operator==(unit, unit) noexcept { return true; }
};

namespace detail {

struct hchan;

// How the type-erased channel moves its elements. One static instance per element type.
enum class elem_kind : uint8_t {
  empty,  // nothing to move
  copy1,
  copy2,
  copy4,
  copy8,
  copy16,  // trivially copyable, of that size
  bytes,   // trivially copyable, any other size
  object,  // by its move constructor
};
struct elem_type {
  size_t size;
  size_t align;
  elem_kind kind;
  void (*move)(void* dst, void* src) noexcept;  // constructs *dst from *src, which stays behind, moved from; nullptr unless kind is object
  void (*destroy)(void* elem) noexcept;         // nullptr if there is nothing to do
  const type_descriptor* slot;                  // what the collector must know of a slot of the buffer
  bool finalize;                                // values that are left in the buffer of a dead channel must be destroyed
  bool hidden_buffer = false;                   // a timer's channel: len and cap are 0 to the user, though it buffers one value
};

inline void move_construct(const elem_type& t, void* dst, void* src) noexcept {
  if (t.kind == elem_kind::copy8) {  // the most frequent without the jump through a table
    __builtin_memcpy(dst, src, 8);
    return;
  }
  switch (t.kind) {
    case elem_kind::empty: return;
    case elem_kind::copy1: __builtin_memcpy(dst, src, 1); return;
    case elem_kind::copy2: __builtin_memcpy(dst, src, 2); return;
    case elem_kind::copy4: __builtin_memcpy(dst, src, 4); return;
    case elem_kind::copy8: __builtin_memcpy(dst, src, 8); return;
    case elem_kind::copy16: __builtin_memcpy(dst, src, 16); return;
    case elem_kind::bytes: __builtin_memcpy(dst, src, t.size); return;
    case elem_kind::object: t.move(dst, src); return;
  }
}

template <size_t Size>
constexpr word_bits<Size / sizeof(void*)> compute_every_word() {
  word_bits<Size / sizeof(void*)> b;
  for (size_t i = 0; i < Size / sizeof(void*); ++i) b.set(i);
  return b;
}
template <size_t Size>
inline constexpr auto every_word = compute_every_word<Size>();

// T states where its pointers are (or has none): the buffer can be scanned by T's own map.
template <class T>
constexpr bool states_map() {
  if constexpr (std::is_class_v<T> || std::is_union_v<T>) {
    return field_access::has_list<T> || !std::is_void_v<typename read_statement<statement_of<T>>::layout>;
  } else {
    return true;
  }
}
template <class T>
constexpr bool states_map_v = states_map<T>();
template <class T>
constexpr bool states_map_v<T*> = false;
template <class T>
constexpr bool states_map_v<ptr<T>> = true;
template <class T>
constexpr bool states_map_v<array<T>> = true;

// How the collector sees a slot of the buffer. By T's map, if T states one. A slot of any other type is scanned conservatively, every
// aligned word of it: so also a lambda or a std::function with a ptr inside is kept, and nothing must be refused. Where no word fits
// there is nothing to scan.
template <class T>
constexpr type_descriptor slot_descriptor() {
  if constexpr (states_map_v<T>) {
    using d = described<T>;
    return {sizeof(T), alignof(T), d::kind(), d::pointer_words(), d::bits.w, nullptr, type_name<T>()};
  } else if constexpr (alignof(T) < alignof(void*) || std::is_empty_v<T>) {
    return {sizeof(T), alignof(T), layout_kind::noscan, 0, nullptr, nullptr, type_name<T>()};
  } else {
    return {sizeof(T), alignof(T), layout_kind::ambiguous, sizeof(T) / sizeof(void*), every_word<sizeof(T)>.w, nullptr, type_name<T>()};
  }
}

template <class T>
struct elem_type_of {
  // Here and not in chan<T>: a T may contain a chan<T>.
  static_assert(std::is_object_v<T> && !std::is_const_v<T> && !std::is_array_v<T>, "warren: chan<T>: T must be a plain object type");
  static_assert(std::is_move_constructible_v<T>, "warren: chan<T>: T must be movable, its values go from one stack to another");
  static_assert(std::is_nothrow_destructible_v<T>, "warren: chan<T>: T's destructor must not throw");

  static constexpr elem_kind kind() noexcept {
    if constexpr (!std::is_trivially_copyable_v<T>) return elem_kind::object;
    if constexpr (std::is_empty_v<T>) return elem_kind::empty;
    switch (sizeof(T)) {
      case 1: return elem_kind::copy1;
      case 2: return elem_kind::copy2;
      case 4: return elem_kind::copy4;
      case 8: return elem_kind::copy8;
      case 16: return elem_kind::copy16;
      default: return elem_kind::bytes;
    }
  }
  static constexpr bool finalize() noexcept {
    if constexpr (std::is_trivially_destructible_v<T>) return false;
    if constexpr (states_map_v<T>) return map_of<T>::destructor || is_finalized<T>;
    return true;
  }
  static void move(void* dst, void* src) noexcept { ::new (dst) T(std::move(*static_cast<T*>(src))); }
  static void destroy(void* elem) noexcept { static_cast<T*>(elem)->~T(); }
  static constexpr type_descriptor slot = slot_descriptor<T>();
  static constexpr elem_type type{sizeof(T),
                                  alignof(T),
                                  kind(),
                                  std::is_trivially_copyable_v<T> ? nullptr : &move,
                                  std::is_trivially_destructible_v<T> ? nullptr : &destroy,
                                  &slot,
                                  finalize()};
};

// Raw storage for one element, on the stack of the one who receives.
template <class T>
class elem_slot {
 public:
  void* place() noexcept { return storage_; }
  // REQUIRES: a value was moved in. Leaves the slot empty.
  T take() noexcept {
    T* p = std::launder(reinterpret_cast<T*>(storage_));
    T v(std::move(*p));
    p->~T();
    return v;
  }

 private:
  alignas(T) std::byte storage_[sizeof(T)];
};

enum class recv_result : uint8_t { nothing, closed, value };

ptr<hchan> makechan(const elem_type& type, size_t capacity);
bool chansend(hchan* c, void* elem, bool may_park);         // false: would have to park
recv_result chanrecv(hchan* c, void* elem, bool may_park);  // nothing: would have to park
void closechan(hchan* c);
size_t chanlen(const hchan* c) noexcept;
size_t chancap(const hchan* c) noexcept;
bool chandrained(const hchan* c) noexcept;
}  // namespace detail

namespace detail {
// Makes a handle to a channel that was made elsewhere (a timer's, a context's). REQUIRES: its elements are Ts.
struct chan_access {
  template <class C>
  static C wrap(const ptr<hchan>& h) noexcept {
    return C(h);
  }
};

// The operations; Handle is chan<T> or root_chan<T>, which hold the channel.
template <class T, class Handle>
class chan_operations {
 public:
  using value_type = T;

  // Sends v; parks until a receiver takes it or the buffer has room. Sending on a closed channel, also when it is closed while the sender
  // waits, is a fatal error. On a nil channel waits for ever.
  void send(T&& v) const { chansend(raw(), std::addressof(v), true); }
  void send(const T& v) const {
    if constexpr (std::is_trivially_copyable_v<T>) {
      chansend(raw(), const_cast<T*>(std::addressof(v)), true);
    } else {
      T copy(v);
      chansend(raw(), std::addressof(copy), true);
    }
  }

  // Receives; parks until there is a value. nullopt: closed, and everything that was sent has been received. On a nil channel waits for
  // ever.
  std::optional<T> recv() const {
    elem_slot<T> slot;
    if (chanrecv(raw(), slot.place(), true) != recv_result::value) return std::nullopt;
    return std::optional<T>(slot.take());
  }

  // Sends if that is possible at once. false: v is untouched. Never parks; also for threads the runtime did not start and for timers'
  // functions.
  [[nodiscard]] bool try_send(T&& v) const { return chansend(raw(), std::addressof(v), false); }
  [[nodiscard]] bool try_send(const T& v) const {
    if constexpr (std::is_trivially_copyable_v<T>) {
      return chansend(raw(), const_cast<T*>(std::addressof(v)), false);
    } else {
      T copy(v);
      return chansend(raw(), std::addressof(copy), false);
    }
  }

  // Receives if that is possible at once. nullopt: nothing there; drained() tells whether anything can still come. Never parks; as
  // try_send.
  [[nodiscard]] std::optional<T> try_recv() const {
    elem_slot<T> slot;
    if (chanrecv(raw(), slot.place(), false) != recv_result::value) return std::nullopt;
    return std::optional<T>(slot.take());
  }

  // No value will be sent after this. Receivers get what is buffered, then nullopt; those that wait now get nullopt. Closing a closed or
  // a nil channel is a fatal error. Never parks; as try_send.
  void close() const { closechan(raw()); }

  // Closed, and everything was received. Once true it stays true.
  bool drained() const noexcept { return chandrained(raw()); }

  // Number of values in the buffer at some recent moment (0 if unbuffered or nil), and how many it can hold.
  size_t size() const noexcept { return chanlen(raw()); }
  size_t capacity() const noexcept { return chancap(raw()); }

  // False for the nil channel.
  explicit operator bool() const noexcept { return raw() != nullptr; }

 private:
  hchan* raw() const noexcept { return static_cast<const Handle*>(this)->raw(); }
};
}  // namespace detail

// A channel of T: a handle, copied freely, to a channel on the collected heap; a default-constructed one is nil. The channel lives as
// long as a handle can be reached; closing is a message to the receivers, not a duty.
//
// Like a ptr, a handle belongs on goroutine stacks and in collected objects; anywhere else keep a root_chan<T>.
//
// T is any movable type. If its move constructor throws, std::terminate is called. An unbuffered channel moves the value from the
// sender's stack straight to the receiver's. The buffer of a buffered one lies on the collected heap: what its values point to with ptr
// is kept. Moves into and out of the buffer run under the channel's lock: a move constructor or destructor must not park, make objects,
// or touch that channel there. Values that are left in a channel nobody reaches any more are destroyed by the finalizer goroutine, some
// collection later (those that hold nothing but ptrs and plain data are simply freed).
//
// All operations may be called by any goroutine at any time. Waiting goroutines are served first come, first served. What precedes a send
// is visible after the receive of its value; what precedes a close, after a receive that returned nullopt; and what precedes a receive
// from an unbuffered channel, after its send.
template <class T>
class chan : public detail::chan_operations<T, chan<T>> {
 public:
  constexpr chan() noexcept = default;
  constexpr chan(std::nullptr_t) noexcept {}

  // The same channel?
  friend bool operator==(const chan& a, const chan& b) noexcept { return a.raw() == b.raw(); }

  // for (T v : c): receives until the channel is closed and drained.
  class iterator {
   public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    explicit iterator(const chan& c) : c_(c), v_(c.recv()) {}
    T&& operator*() const noexcept { return std::move(*v_); }
    iterator& operator++() {
      v_.reset();
      if (std::optional<T> next = c_.recv()) v_.emplace(std::move(*next));  // not assigned: T need not be assignable
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept { return !i.v_.has_value(); }

   private:
    chan c_;
    mutable std::optional<T> v_;
  };
  iterator begin() const { return iterator(*this); }
  std::default_sentinel_t end() const noexcept { return {}; }

  // The type-erased channel, for select.
  detail::hchan* raw() const noexcept { return h_.get(); }

 private:
  template <class U>
  friend chan<U> make_chan(size_t capacity);
  template <class U>
  friend class root_chan;
  friend struct detail::chan_access;
  explicit chan(const ptr<detail::hchan>& h) noexcept : h_(h) {}

  ptr<detail::hchan> h_;
  WARREN_FIELDS(h_);
};

// A handle that keeps its channel from anywhere: globals, malloc'ed objects, threads the runtime did not start. See root<T>.
template <class T>
class root_chan : public detail::chan_operations<T, root_chan<T>> {
 public:
  root_chan() noexcept = default;
  root_chan(const chan<T>& c) : h_(c.h_) {}

  // On a goroutine: an ordinary handle.
  chan<T> get() const noexcept { return chan<T>(ptr<detail::hchan>(h_)); }
  operator chan<T>() const noexcept { return get(); }
  detail::hchan* raw() const noexcept { return h_.get(); }

 private:
  root<detail::hchan> h_;
};

// Makes a channel that buffers `capacity` values; 0: unbuffered, a send waits for its receiver. On a goroutine. Throws std::bad_alloc.
template <class T>
chan<T> make_chan(size_t capacity = 0) {
  return chan<T>(detail::makechan(detail::elem_type_of<T>::type, capacity));
}

}  // namespace warren

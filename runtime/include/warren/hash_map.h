// hash_map: std::unordered_map on the collected heap, iterated in the order of insertion.
//
// Layout. Two arrays:
//   entries   hash, key, value, in the order they were inserted; erased ones stay as gaps until the next growth
//   index     open addressing with linear probing: words of (hash << 32 | number of the entry + 1), pointer-free, so the collector never
//             looks at it; a power of two, at most 7/8 used
// A look-up compares hashes in the index alone and touches an entry only when all 32 bits agree. Iterating walks one array. Growing moves
// the entries in bulk and never asks for a hash again.
// Rejected: a node per entry (std's layout): an allocation and a mark per insertion, a cache miss per step. Rejected: keys and values in
// the probed table (SwissTable): iteration then wanders with every growth, and moving entries on erasure passes the barrier.
//
// Differences from std::unordered_map:
//   - References and iterators are invalidated by insertion that grows the table, not by erasure (but of what is erased). One that is used
//     all the same reads the old entries, which live while an address into them is on a goroutine's stack.
//   - No buckets, no nodes; erasing an element costs nothing to those that iterate.
//   - Hashes are keyed per process (warren/hash.h), so colliding keys cannot be prepared. Other hash functions are mixed with the key too,
//     which helps against patterns, not against equal hashes.
//   - Look-ups take any type the hash and the comparison are both transparent for: string_view for string.
//
// Keys and values must not need destructors (see vector) and must move without exceptions. At most 2^32 - 2 entries. Operations that
// allocate may run a collection and park, are for goroutines only and throw std::bad_alloc; what throws has changed nothing. Two goroutines
// may use one map at the same time only if both read. Collections never disturb an iteration: objects do not move.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iosfwd>
#include <iterator>
#include <tuple>
#include <type_traits>
#include <utility>

#include "warren/detail/bulk.h"
#include "warren/hash.h"
#include "warren/ptr.h"

namespace warren {

namespace detail {

template <class K, class V>
struct hash_entry {
  uint32_t hash;  // 0: none, or erased
  std::pair<const K, V> kv;
  WARREN_FIELDS(hash, kv);
};
// Only the pair is moved by hand where words cannot be.
template <class K, class V>
struct relocation<hash_entry<K, V>> : relocation<std::pair<const K, V>> {};

}  // namespace detail

template <class K, class V, class Hash = hash<K>, class Equal = std::equal_to<>>
class hash_map {
  using entry = detail::hash_entry<K, V>;
  // Look-ups take a Q as it is if hash and comparison do, else make a K of it.
  static constexpr bool transparent = requires {
    typename Hash::is_transparent;
    typename Equal::is_transparent;
  };
  template <class Q>
  static constexpr bool looks_up = transparent || std::is_convertible_v<const Q&, K>;
  template <class Q>
  static decltype(auto) as_key(const Q& q) {
    if constexpr (transparent || std::is_same_v<Q, K>) {
      return (q);
    } else {
      return static_cast<K>(q);
    }
  }

  template <bool Const>
  class basic_iterator {
   public:
    using value_type = std::pair<const K, V>;
    using difference_type = ptrdiff_t;
    using reference = std::conditional_t<Const, const value_type&, value_type&>;
    using pointer = std::conditional_t<Const, const value_type*, value_type*>;
    using iterator_category = std::forward_iterator_tag;

    basic_iterator() noexcept = default;
    template <bool C>
    requires(Const && !C) basic_iterator(const basic_iterator<C>& o)
    noexcept : at_(o.at_), end_(o.end_) {}

    reference operator*() const noexcept { return at_->kv; }
    pointer operator->() const noexcept { return &at_->kv; }
    basic_iterator& operator++() noexcept {
      ++at_;
      skip();
      return *this;
    }
    basic_iterator operator++(int) noexcept {
      basic_iterator was = *this;
      ++*this;
      return was;
    }
    friend bool operator==(const basic_iterator& a, const basic_iterator& b) noexcept { return a.at_ == b.at_; }

   private:
    friend class hash_map;
    template <bool>
    friend class basic_iterator;
    basic_iterator(entry* at, entry* end) noexcept : at_(at), end_(end) {}
    void skip() noexcept {
      while (at_ != end_ && at_->hash == 0) ++at_;
    }
    entry* at_ = nullptr;
    entry* end_ = nullptr;
  };

 public:
  using key_type = K;
  using mapped_type = V;
  using value_type = std::pair<const K, V>;
  using size_type = size_t;
  using difference_type = ptrdiff_t;
  using hasher = Hash;
  using key_equal = Equal;
  using reference = value_type&;
  using const_reference = const value_type&;
  using iterator = basic_iterator<false>;
  using const_iterator = basic_iterator<true>;
  using warren_relocatable = void;
  static_assert(std::is_empty_v<Hash> && std::is_empty_v<Equal>,
                "warren: hash_map makes its hash and comparison where it needs them: they have no state");

  constexpr hash_map() noexcept = default;
  explicit hash_map(size_t expected) { reserve(expected); }
  template <std::input_iterator I>
  hash_map(I first, I last) {
    insert(first, last);
  }
  hash_map(std::initializer_list<value_type> list) { insert(list.begin(), list.end()); }
  hash_map(const hash_map& o) {
    reserve(o.size_);
    for (const value_type& kv : o) append(hash_of(kv.first), kv);
  }
  hash_map(hash_map&& o) noexcept
      : entries_(o.entries_), index_(o.index_), used_(o.used_), size_(o.size_), capacity_(o.capacity_), mask_(o.mask_) {
    o.forget();
  }
  hash_map& operator=(const hash_map& o) {
    if (this != &o) *this = hash_map(o);
    return *this;
  }
  hash_map& operator=(hash_map&& o) noexcept {
    if (this != &o) {
      entries_ = o.entries_;
      index_ = o.index_;
      used_ = o.used_;
      size_ = o.size_;
      capacity_ = o.capacity_;
      mask_ = o.mask_;
      o.forget();
    }
    return *this;
  }
  hash_map& operator=(std::initializer_list<value_type> list) { return *this = hash_map(list); }

  size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  static constexpr size_t max_size() noexcept { return kMaxEntries; }
  // Entries that fit before the table grows, erased ones included.
  size_t capacity() const noexcept { return capacity_; }

  iterator begin() noexcept { return first<iterator>(); }
  iterator end() noexcept { return {entries() + used_, entries() + used_}; }
  const_iterator begin() const noexcept { return first<const_iterator>(); }
  const_iterator end() const noexcept { return {entries() + used_, entries() + used_}; }
  const_iterator cbegin() const noexcept { return begin(); }
  const_iterator cend() const noexcept { return end(); }

  // ---- looking up ----
  template <class Q = K>
  requires(looks_up<Q>) iterator find(const Q& q) {
    const auto& key = as_key(q);
    entry* const e = find_entry(key, hash_of(key));
    return e == nullptr ? end() : iterator(e, entries() + used_);
  }
  template <class Q = K>
  requires(looks_up<Q>) const_iterator find(const Q& q)
  const {
    const auto& key = as_key(q);
    entry* const e = find_entry(key, hash_of(key));
    return e == nullptr ? end() : const_iterator(e, entries() + used_);
  }
  template <class Q = K>
  requires(looks_up<Q>) bool contains(const Q& q) const {
    const auto& key = as_key(q);
    return find_entry(key, hash_of(key)) != nullptr;
  }
  template <class Q = K>
  requires(looks_up<Q>) size_t count(const Q& key)
  const { return contains(key) ? 1 : 0; }
  template <class Q = K>
  requires(looks_up<Q>) V& at(const Q& q) {
    const auto& key = as_key(q);
    entry* const e = find_entry(key, hash_of(key));
    if (e == nullptr) [[unlikely]]
      detail::throw_no_such_key("warren::hash_map::at");
    return e->kv.second;
  }
  template <class Q = K>
  requires(looks_up<Q>) const V& at(const Q& key) const { return const_cast<hash_map*>(this)->at(key); }

  // ---- inserting ----
  V& operator[](const K& key) { return try_emplace(key).first->second; }
  V& operator[](K&& key) { return try_emplace(std::move(key)).first->second; }
  template <class... A>
  std::pair<iterator, bool> try_emplace(const K& key, A&&... args) {
    return try_emplace_key(key, std::forward<A>(args)...);
  }
  template <class... A>
  std::pair<iterator, bool> try_emplace(K&& key, A&&... args) {
    return try_emplace_key(std::move(key), std::forward<A>(args)...);
  }
  template <class M>
  std::pair<iterator, bool> insert_or_assign(const K& key, M&& value) {
    auto r = try_emplace_key(key, std::forward<M>(value));
    if (!r.second) r.first->second = std::forward<M>(value);
    return r;
  }
  template <class M>
  std::pair<iterator, bool> insert_or_assign(K&& key, M&& value) {
    auto r = try_emplace_key(std::move(key), std::forward<M>(value));
    if (!r.second) r.first->second = std::forward<M>(value);
    return r;
  }
  std::pair<iterator, bool> insert(const value_type& kv) { return try_emplace_key(kv.first, kv.second); }
  std::pair<iterator, bool> insert(value_type&& kv) { return try_emplace_key(kv.first, std::move(kv.second)); }
  template <class P>
  requires(std::is_constructible_v<value_type, P&&> &&
           !std::is_same_v<std::remove_cvref_t<P>, value_type>) std::pair<iterator, bool> insert(P&& kv) {
    return emplace(std::forward<P>(kv));
  }
  template <std::input_iterator I>
  void insert(I from, I to) {
    for (; from != to; ++from) emplace(*from);
  }
  void insert(std::initializer_list<value_type> list) { insert(list.begin(), list.end()); }
  // Makes the pair first, then looks whether its key is there.
  template <class... A>
  std::pair<iterator, bool> emplace(A&&... args) {
    detail::stack_place<value_type> made;
    ::new (static_cast<void*>(made.at())) value_type(std::forward<A>(args)...);
    struct guard {
      value_type* at;
      ~guard() {
        if (at != nullptr) detail::end_elements(at, 1);
      }
    } g{made.at()};
    const uint32_t h = hash_of(made.at()->first);
    if (entry* const e = find_entry(made.at()->first, h)) return {iterator(e, entries() + used_), false};
    make_room();
    entry* const e = entries() + used_;
    detail::relocate_pairs(&e->kv, made.at(), 1);
    g.at = nullptr;
    link(e, h);
    return {iterator(e, entries() + used_), true};
  }

  // ---- erasing: key and value are destroyed, with the deletion barrier, and their place cleared ----
  iterator erase(const_iterator at) noexcept {
    iterator next(at.at_ + 1, entries() + used_);
    drop(at.at_);
    next.skip();
    return next;
  }
  iterator erase(iterator at) noexcept { return erase(const_iterator(at)); }
  iterator erase(const_iterator from, const_iterator to) noexcept {
    while (from != to) from = erase(from);
    return iterator(to.at_, entries() + used_);
  }
  template <class Q = K>
  requires(looks_up<Q> && !std::is_convertible_v<Q, const_iterator>) size_t erase(const Q& q) {
    const auto& key = as_key(q);
    entry* const e = find_entry(key, hash_of(key));
    if (e == nullptr) return 0;
    drop(e);
    return 1;
  }
  // Keeps the memory; hash_map() assigned gives it up.
  void clear() noexcept {
    for (size_t i = 0; i < used_; ++i) {
      if (entries()[i].hash != 0) end_entry(entries() + i);
    }
    if (capacity_ != 0) std::fill_n(index(), mask_ + 1, 0);
    used_ = size_ = 0;
  }

  // Room for n entries in all.
  void reserve(size_t n) {
    if (n > capacity_) rebuild(n);
  }
  void swap(hash_map& o) noexcept {
    hash_map t(std::move(o));
    o = std::move(*this);
    *this = std::move(t);
  }
  friend void swap(hash_map& a, hash_map& b) noexcept { a.swap(b); }

  // The same keys with equal values, in whatever order.
  friend bool operator==(const hash_map& a, const hash_map& b) {
    if (a.size_ != b.size_) return false;
    for (const value_type& kv : a) {
      const auto i = b.find(kv.first);
      if (i == b.end() || !(i->second == kv.second)) return false;
    }
    return true;
  }

 private:
  static constexpr size_t kMaxEntries = (size_t{1} << 32) - 2;
  static constexpr uint64_t kEmpty = 0;
  static constexpr uint64_t kErased = uint64_t{1} << 32;  // entry number 0 with a hash that no entry has alone

  entry* entries() const noexcept { return static_cast<entry*>(entries_.get()); }
  uint64_t* index() const noexcept { return index_.get(); }
  template <class Q>
  static uint32_t hash_of(const Q& key) {
    const uint64_t h = is_ours ? static_cast<uint64_t>(Hash()(key)) : detail::mix_hash(static_cast<uint64_t>(Hash()(key)));
    const uint32_t folded = static_cast<uint32_t>(h >> 32);
    return folded == 0 ? 1 : folded;
  }
  static constexpr bool is_ours = std::is_same_v<Hash, hash<K>>;

  template <class I>
  I first() const noexcept {
    I i(entries(), entries() + used_);
    i.skip();
    return i;
  }

  // Index words of the entries: at most this many per size.
  static constexpr size_t index_size_for(size_t capacity) noexcept {
    size_t n = 8;
    while (n / 8 * 7 < capacity) n *= 2;
    return n;
  }

  template <class Q>
  entry* find_entry(const Q& key, uint32_t h) const {
    if (size_ == 0) return nullptr;
    const uint64_t* const table = index();
    for (size_t i = h & mask_;; i = (i + 1) & mask_) {
      const uint64_t word = table[i];
      if (word == kEmpty) return nullptr;
      if (word >> 32 != h || static_cast<uint32_t>(word) == 0) continue;
      entry* const e = entries() + static_cast<uint32_t>(word) - 1;
      if (Equal()(e->kv.first, key)) return e;
    }
  }

  template <class Key, class... A>
  std::pair<iterator, bool> try_emplace_key(Key&& key, A&&... args) {
    detail::check_element<K>();
    detail::check_element<V>();
    const uint32_t h = hash_of(key);
    if (entry* const e = find_entry(key, h)) return {iterator(e, entries() + used_), false};
    if (used_ == capacity_) {
      // Key and arguments may refer to entries that will move: the pair is made first.
      return emplace(std::piecewise_construct, std::forward_as_tuple(std::forward<Key>(key)),
                     std::forward_as_tuple(std::forward<A>(args)...));
    }
    entry* const e =
        append(h, std::piecewise_construct, std::forward_as_tuple(std::forward<Key>(key)), std::forward_as_tuple(std::forward<A>(args)...));
    return {iterator(e, entries() + used_), true};
  }
  // REQUIRES: room.
  template <class... A>
  entry* append(uint32_t h, A&&... args) {
    entry* const e = entries() + used_;
    try {
      ::new (static_cast<void*>(const_cast<std::remove_const_t<value_type>*>(&e->kv))) value_type(std::forward<A>(args)...);
    } catch (...) {
      detail::clear_places(&e->kv, 1);  // what was made of it may have left ptrs behind
      throw;
    }
    link(e, h);
    return e;
  }
  void link(entry* e, uint32_t h) noexcept {
    e->hash = h;
    uint64_t* const table = index();
    size_t i = h & mask_;
    while (table[i] != kEmpty) i = (i + 1) & mask_;
    table[i] = uint64_t{h} << 32 | (static_cast<uint64_t>(e - entries()) + 1);
    ++used_;
    ++size_;
  }
  void drop(entry* e) noexcept {
    const uint64_t word = uint64_t{e->hash} << 32 | (static_cast<uint64_t>(e - entries()) + 1);
    uint64_t* const table = index();
    size_t i = e->hash & mask_;
    while (table[i] != word) i = (i + 1) & mask_;
    // Nothing behind it was put there past it: then the place is empty again, and so are erased ones before it.
    if (table[(i + 1) & mask_] == kEmpty) {
      table[i] = kEmpty;
      while (table[i = (i - 1) & mask_] == kErased) table[i] = kEmpty;
    } else {
      table[i] = kErased;
    }
    end_entry(e);
    --size_;
  }
  static void end_entry(entry* e) noexcept {
    e->hash = 0;
    detail::end_elements(&e->kv, 1);
  }

  void make_room() {
    if (used_ < capacity_) return;
    if (size_ >= kMaxEntries) detail::throw_length_error("warren::hash_map");
    // Mostly gaps: the same size again, without them.
    const size_t want = size_ < capacity_ / 2 ? size_ + size_ / 2 : size_ * 2;
    rebuild(std::min(std::max(want, size_t{7}), kMaxEntries));
  }
  // New arrays for at least n entries; those there are move, without gaps.
  void rebuild(size_t n) {
    detail::check_element<K>();
    detail::check_element<V>();
    if (n > kMaxEntries) detail::throw_length_error("warren::hash_map");
    size_t capacity;
    entry* const fresh = detail::new_places<entry>(n, &capacity);
    capacity = std::min(capacity, kMaxEntries);
    const size_t words = index_size_for(n);
    capacity = std::min(capacity, words / 8 * 7);
    // The last word lies where arrays have their spare byte: slots are whole words, and nobody keeps an address past the end.
    auto* const table = static_cast<uint64_t*>(detail::new_array(detail::descriptor_of<uint64_t>, words - 1));
    size_t filled = 0;
    for (size_t i = 0; i < used_;) {
      if (entries()[i].hash == 0) {
        ++i;
        continue;
      }
      size_t run = 1;
      while (i + run < used_ && entries()[i + run].hash != 0) ++run;
      move_entries(fresh + filled, entries() + i, run);
      i += run;
      filled += run;
    }
    const size_t mask = words - 1;
    for (size_t k = 0; k < filled; ++k) {
      size_t i = fresh[k].hash & mask;
      while (table[i] != kEmpty) i = (i + 1) & mask;
      table[i] = uint64_t{fresh[k].hash} << 32 | (k + 1);
    }
    detail::publish();
    entries_ = ptr<void>(fresh);
    index_ = ptr<uint64_t>(table);
    capacity_ = capacity;
    mask_ = mask;
    used_ = filled;
  }
  static void move_entries(entry* to, entry* from, size_t n) noexcept {
    if constexpr (detail::relocatable<entry>) {
      detail::relocate(to, from, n);
    } else {
      for (size_t i = 0; i < n; ++i) {
        to[i].hash = from[i].hash;
        detail::relocate_pairs(&to[i].kv, &from[i].kv, 1);
      }
    }
  }
  void forget() noexcept {
    entries_ = nullptr;
    index_ = nullptr;
    used_ = size_ = capacity_ = mask_ = 0;
  }

  // Not ptr<entry>: a V may contain a map of Vs, and is incomplete then.
  ptr<void> entries_;    // capacity_ places, the first used_ of them entries or gaps
  ptr<uint64_t> index_;  // mask_ + 1 words
  size_t used_ = 0;
  size_t size_ = 0;
  size_t capacity_ = 0;
  size_t mask_ = 0;
  WARREN_FIELDS(entries_, index_, used_, size_, capacity_, mask_);
};

template <class K, class V, class H, class E, class F>
size_t erase_if(hash_map<K, V, H, E>& m, F pred) {
  const size_t was = m.size();
  for (auto i = m.begin(); i != m.end();) i = pred(*i) ? m.erase(i) : std::next(i);
  return was - m.size();
}

// {key: value, key: value}
template <class C, class Tr, class K, class V, class H, class E>
std::basic_ostream<C, Tr>& operator<<(std::basic_ostream<C, Tr>& os, const hash_map<K, V, H, E>& m) {
  os << '{';
  const char* between = "";
  for (const auto& [k, v] : m) {
    os << between << k << ": " << v;
    between = ", ";
  }
  return os << '}';
}

}  // namespace warren

// ordered_map: std::map on the collected heap, as a B-tree.
//
// Layout. Nodes of about half a kilobyte, each an object of the collected heap: entries in order, the parent, the place in the parent, and
// in inner nodes one child more than entries. All leaves have the same depth. For a node that is not the root:
//   kLeast <= count <= kMost
//   entries of child i lie between entries i - 1 and i
//   child->parent == node, child->position == i
// Places behind `count` hold nothing (null to the collector). A node that was merged away keeps its contents until it is swept: nobody
// reaches it any more, and its entries have been shaded where they went.
// Inserting splits full nodes from the leaf upwards, after everything that can throw has happened; erasing borrows from a neighbour or
// merges with it, and cannot throw.
// Rejected: a red-black tree as std::map has it: three pointers and a cache miss per entry, an object per entry for the collector to mark.
//
// Differences from std::map: references and iterators are invalidated by any insertion and erasure (erase returns the next); one that is
// used all the same reads old nodes or cleared places, never freed memory. No node handles. Look-ups take any type the order compares
// with (the default std::less<> takes string_view for string).
//
// Keys and values must not need destructors (see vector) and must move without exceptions. Operations that allocate may run a collection
// and park, are for goroutines only and throw std::bad_alloc; what throws has changed nothing. Two goroutines may use one map at the same
// time only if both read.
#pragma once
#include <algorithm>
#include <array>
#include <compare>
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
#include "warren/ptr.h"

namespace warren {

namespace detail {

// Entries per node: about half a kilobyte of them, odd, so that a full node splits into two halves around one.
constexpr size_t btree_fanout(size_t entry_size) {
  const size_t n = 448 / entry_size;
  return n < 5 ? 5 : n > 63 ? 63 : n / 2 * 2 + 1;
}

template <class K, class V>
struct btree_inner;
template <class K, class V>
struct btree_node {
  using entry = std::pair<const K, V>;
  static constexpr size_t kMost = btree_fanout(sizeof(entry));
  static constexpr size_t kLeast = kMost / 2;

  ptr<btree_node> parent;
  uint16_t position = 0;  // in parent
  uint16_t count = 0;
  bool leaf = true;
  raw_places<entry, kMost> places;

  btree_node() noexcept {}
  entry* at(size_t i) noexcept { return places.at() + i; }
  const K& key(size_t i) const noexcept { return places.at()[i].first; }
  btree_inner<K, V>* inner() noexcept { return static_cast<btree_inner<K, V>*>(this); }
  btree_node* up() const noexcept { return parent.get(); }
  inline btree_node* kid(size_t i) noexcept;
  inline void set_kid(size_t i, btree_node* n) noexcept;

  WARREN_FIELDS(parent, position, count, leaf, places);
};
template <class K, class V>
struct btree_inner : btree_node<K, V> {
  std::array<ptr<btree_node<K, V>>, btree_node<K, V>::kMost + 1> kids;
  btree_inner() noexcept { this->leaf = false; }
  using base = btree_node<K, V>;
  WARREN_FIELDS_WITH_BASE(base, kids);
};
template <class K, class V>
btree_node<K, V>* btree_node<K, V>::kid(size_t i) noexcept {
  return inner()->kids[i].get();
}
template <class K, class V>
void btree_node<K, V>::set_kid(size_t i, btree_node* n) noexcept {
  inner()->kids[i] = ptr<btree_node>(n);
  n->parent = ptr<btree_node>(this);
  n->position = static_cast<uint16_t>(i);
}

}  // namespace detail

template <class K, class V, class Compare = std::less<>>
class ordered_map {
  using node = detail::btree_node<K, V>;
  using inner_node = detail::btree_inner<K, V>;

  static constexpr bool transparent = requires { typename Compare::is_transparent; };
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
    using iterator_category = std::bidirectional_iterator_tag;

    basic_iterator() noexcept = default;
    template <bool C>
    requires(Const && !C) basic_iterator(const basic_iterator<C>& o)
    noexcept : map_(o.map_), at_(o.at_), i_(o.i_) {}

    reference operator*() const noexcept { return *at_->at(i_); }
    pointer operator->() const noexcept { return at_->at(i_); }
    basic_iterator& operator++() noexcept {
      if (!at_->leaf) {
        at_ = at_->kid(i_ + 1);
        while (!at_->leaf) at_ = at_->kid(0);
        i_ = 0;
        return *this;
      }
      ++i_;
      while (at_ != nullptr && i_ >= at_->count) {
        i_ = at_->position;
        at_ = at_->up();
      }
      if (at_ == nullptr) i_ = 0;
      return *this;
    }
    basic_iterator& operator--() noexcept {
      if (at_ == nullptr) {
        at_ = map_->root();
        while (!at_->leaf) at_ = at_->kid(at_->count);
        i_ = at_->count - size_t{1};
        return *this;
      }
      if (!at_->leaf) {
        at_ = at_->kid(i_);
        while (!at_->leaf) at_ = at_->kid(at_->count);
        i_ = at_->count - size_t{1};
        return *this;
      }
      while (i_ == 0) {
        i_ = at_->position;
        at_ = at_->up();
      }
      --i_;
      return *this;
    }
    basic_iterator operator++(int) noexcept {
      basic_iterator was = *this;
      ++*this;
      return was;
    }
    basic_iterator operator--(int) noexcept {
      basic_iterator was = *this;
      --*this;
      return was;
    }
    friend bool operator==(const basic_iterator& a, const basic_iterator& b) noexcept { return a.at_ == b.at_ && a.i_ == b.i_; }

   private:
    friend class ordered_map;
    template <bool>
    friend class basic_iterator;
    basic_iterator(const ordered_map* map, node* at, size_t i) noexcept : map_(map), at_(at), i_(i) {}
    const ordered_map* map_ = nullptr;
    node* at_ = nullptr;  // nullptr: the end
    size_t i_ = 0;
  };

 public:
  using key_type = K;
  using mapped_type = V;
  using value_type = std::pair<const K, V>;
  using size_type = size_t;
  using difference_type = ptrdiff_t;
  using key_compare = Compare;
  using reference = value_type&;
  using const_reference = const value_type&;
  using iterator = basic_iterator<false>;
  using const_iterator = basic_iterator<true>;
  using reverse_iterator = std::reverse_iterator<iterator>;
  using const_reverse_iterator = std::reverse_iterator<const_iterator>;
  using warren_relocatable = void;
  static_assert(std::is_empty_v<Compare>, "warren: ordered_map makes its comparison where it needs it: it has no state");

  constexpr ordered_map() noexcept = default;
  template <std::input_iterator I>
  ordered_map(I first, I last) {
    insert(first, last);
  }
  ordered_map(std::initializer_list<value_type> list) { insert(list.begin(), list.end()); }
  ordered_map(const ordered_map& o) { insert(o.begin(), o.end()); }
  ordered_map(ordered_map&& o) noexcept : root_(o.root_), size_(o.size_) { o.forget(); }
  ordered_map& operator=(const ordered_map& o) {
    if (this != &o) *this = ordered_map(o);
    return *this;
  }
  ordered_map& operator=(ordered_map&& o) noexcept {
    if (this != &o) {
      root_ = o.root_;
      size_ = o.size_;
      o.forget();
    }
    return *this;
  }
  ordered_map& operator=(std::initializer_list<value_type> list) { return *this = ordered_map(list); }

  size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }

  iterator begin() noexcept { return mutable_(std::as_const(*this).begin()); }
  iterator end() noexcept { return {this, nullptr, 0}; }
  const_iterator begin() const noexcept {
    if (size_ == 0) return end();
    node* n = root();
    while (!n->leaf) n = n->kid(0);
    return {this, n, 0};
  }
  const_iterator end() const noexcept { return {this, nullptr, 0}; }
  const_iterator cbegin() const noexcept { return begin(); }
  const_iterator cend() const noexcept { return end(); }
  reverse_iterator rbegin() noexcept { return reverse_iterator(end()); }
  reverse_iterator rend() noexcept { return reverse_iterator(begin()); }
  const_reverse_iterator rbegin() const noexcept { return const_reverse_iterator(end()); }
  const_reverse_iterator rend() const noexcept { return const_reverse_iterator(begin()); }

  // ---- looking up ----
  template <class Q = K>
  requires(looks_up<Q>) iterator find(const Q& key) { return mutable_(std::as_const(*this).find(key)); }
  template <class Q = K>
  requires(looks_up<Q>) const_iterator find(const Q& q)
  const {
    const auto& key = as_key(q);
    const position p = locate(key);
    return p.found ? const_iterator(this, p.at, p.i) : end();
  }
  template <class Q = K>
  requires(looks_up<Q>) bool contains(const Q& q) const {
    const auto& key = as_key(q);
    return locate(key).found;
  }
  template <class Q = K>
  requires(looks_up<Q>) size_t count(const Q& key)
  const { return contains(key) ? 1 : 0; }
  template <class Q = K>
  requires(looks_up<Q>) V& at(const Q& q) {
    const auto& key = as_key(q);
    const position p = locate(key);
    if (!p.found) [[unlikely]]
      detail::throw_no_such_key("warren::ordered_map::at");
    return p.at->at(p.i)->second;
  }
  template <class Q = K>
  requires(looks_up<Q>) const V& at(const Q& key) const { return const_cast<ordered_map*>(this)->at(key); }
  // The first not before key, the first after it, and both.
  template <class Q = K>
  requires(looks_up<Q>) iterator lower_bound(const Q& key) { return mutable_(std::as_const(*this).lower_bound(key)); }
  template <class Q = K>
  requires(looks_up<Q>) const_iterator lower_bound(const Q& q)
  const {
    const auto& key = as_key(q);
    return bound([&](const K& k) { return Compare()(k, key); });
  }
  template <class Q = K>
  requires(looks_up<Q>) iterator upper_bound(const Q& key) { return mutable_(std::as_const(*this).upper_bound(key)); }
  template <class Q = K>
  requires(looks_up<Q>) const_iterator upper_bound(const Q& q)
  const {
    const auto& key = as_key(q);
    return bound([&](const K& k) { return !Compare()(key, k); });
  }
  template <class Q = K>
  requires(looks_up<Q>) std::pair<iterator, iterator> equal_range(const Q& key) { return {lower_bound(key), upper_bound(key)}; }
  template <class Q = K>
  requires(looks_up<Q>) std::pair<const_iterator, const_iterator> equal_range(const Q& key)
  const { return {lower_bound(key), upper_bound(key)}; }

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
    pending made;
    made.make(std::forward<A>(args)...);
    const position p = locate(made.place.at()->first);
    if (p.found) return {iterator(this, p.at, p.i), false};
    return {insert_at(p, made), true};
  }

  // ---- erasing: key and value are destroyed, with the deletion barrier, and their place cleared ----
  // Returns the next, by looking for it once more: O(log n).
  iterator erase(const_iterator at) {
    pending gone;
    take_out(at.at_, at.i_, gone);
    return lower_bound(gone.place.at()->first);
  }
  iterator erase(iterator at) { return erase(const_iterator(at)); }
  iterator erase(const_iterator from, const_iterator to) {
    size_t n = static_cast<size_t>(std::distance(from, to));  // positions change while we erase
    iterator next = mutable_(from);
    while (n-- > 0) next = erase(next);
    return next;
  }
  template <class Q = K>
  requires(looks_up<Q> && !std::is_convertible_v<Q, const_iterator>) size_t erase(const Q& q) {
    const auto& key = as_key(q);
    const position p = locate(key);
    if (!p.found) return 0;
    pending gone;
    take_out(p.at, p.i, gone);
    return 1;
  }
  // The nodes are forgotten whole. Only elements that are not moved word by word, whose destructors somebody might look for, are destroyed.
  void clear() noexcept {
    if constexpr (!detail::relocatable<value_type>) {
      for (auto i = begin(); i != end(); ++i) detail::end_elements(&*i, 1);
    }
    forget();
  }

  void swap(ordered_map& o) noexcept {
    using std::swap;
    swap(root_, o.root_);
    swap(size_, o.size_);
  }
  friend void swap(ordered_map& a, ordered_map& b) noexcept { a.swap(b); }

  friend bool operator==(const ordered_map& a, const ordered_map& b) {
    return a.size_ == b.size_ && std::equal(a.begin(), a.end(), b.begin());
  }
  friend auto operator<=>(const ordered_map& a,
                          const ordered_map& b) requires std::three_way_comparable<K> && std::three_way_comparable<V> {
    return std::lexicographical_compare_three_way(a.begin(), a.end(), b.begin(), b.end());
  }

  // Tests: walks the tree and says what is wrong with it, nullptr if nothing.
  const char* check_for_testing() const {
    size_t seen = 0;
    if (root() == nullptr) return size_ == 0 ? nullptr : "no root, but a size";
    if (root()->up() != nullptr) return "the root has a parent";
    size_t depth = 0;
    for (node* n = root(); !n->leaf; n = n->kid(0)) ++depth;
    if (const char* wrong = check(root(), depth, &seen)) return wrong;
    return seen == size_ ? nullptr : "the size is not the number of entries";
  }

 private:
  static constexpr size_t kMost = node::kMost, kLeast = node::kLeast;

  struct position {
    node* at;  // nullptr: the tree is empty
    size_t i;
    bool found;
  };
  // A pair on the way in or out.
  struct pending {
    detail::stack_place<value_type> place;
    bool full = false;
    pending() noexcept {}
    ~pending() {
      if (full) detail::end_elements(place.at(), 1);
    }
    pending(const pending&) = delete;
    pending& operator=(const pending&) = delete;
    template <class... A>
    void make(A&&... args) {
      ::new (static_cast<void*>(place.at())) value_type(std::forward<A>(args)...);
      full = true;
    }
  };

  node* root() const noexcept { return static_cast<node*>(root_.get()); }
  iterator mutable_(const_iterator i) noexcept { return {this, i.at_, i.i_}; }

  // The first in n for which `before` is false.
  template <class F>
  static size_t partition(node* n, F&& before) {
    size_t lo = 0, hi = n->count;
    while (lo < hi) {
      const size_t mid = (lo + hi) / 2;
      if (before(n->key(mid))) {
        lo = mid + 1;
      } else {
        hi = mid;
      }
    }
    return lo;
  }
  // Where key is, or the place in a leaf where it belongs.
  template <class Q>
  position locate(const Q& key) const {
    node* n = root();
    if (n == nullptr) return {nullptr, 0, false};
    for (;;) {
      const size_t i = partition(n, [&](const K& k) { return Compare()(k, key); });
      if (i < n->count && !Compare()(key, n->key(i))) return {n, i, true};
      if (n->leaf) return {n, i, false};
      n = n->kid(i);
    }
  }
  template <class F>
  const_iterator bound(F&& before) const {
    const_iterator best = end();
    for (node* n = root(); n != nullptr;) {
      const size_t i = partition(n, before);
      if (i < n->count) best = const_iterator(this, n, i);
      if (n->leaf) break;
      n = n->kid(i);
    }
    return best;
  }

  template <class Key, class... A>
  std::pair<iterator, bool> try_emplace_key(Key&& key, A&&... args) {
    const position p = locate(key);
    if (p.found) return {iterator(this, p.at, p.i), false};
    pending made;
    made.make(std::piecewise_construct, std::forward_as_tuple(std::forward<Key>(key)), std::forward_as_tuple(std::forward<A>(args)...));
    return {insert_at(p, made), true};
  }

  static node* new_node(bool leaf) {
    if (leaf) return make<node>().get();
    return make<inner_node>().get();
  }

  iterator insert_at(position p, pending& made) {
    detail::check_element<K>();
    detail::check_element<V>();
    if (p.at == nullptr) {
      node* const n = new_node(true);
      root_ = ptr<void>(n);
      p = {n, 0, false};
    }
    node* n = p.at;
    size_t i = p.i;
    if (n->count == kMost) {
      node* const right = split(n);
      if (i > n->count) {
        i -= n->count + size_t{1};
        n = right;
      }
    }
    detail::relocate_pairs(n->at(i + 1), n->at(i), n->count - i);
    detail::relocate_pairs(n->at(i), made.place.at(), 1);
    made.full = false;
    ++n->count;
    ++size_;
    return {this, n, i};
  }

  // A full node gives its upper half to a new right neighbour, and the entry between them to the parent. Returns the neighbour.
  node* split(node* n) {
    if (n->up() != nullptr && n->up()->count == kMost) split(n->up());  // n->up() may be another node afterwards
    node* const right = new_node(n->leaf);
    node* parent = n->up();
    if (parent == nullptr) {
      parent = new_node(false);
      parent->set_kid(0, n);
      root_ = ptr<void>(parent);
    }
    // From here on nothing throws.
    constexpr size_t half = kMost / 2;
    const size_t i = n->position;
    right->count = static_cast<uint16_t>(kMost - half - 1);
    detail::relocate_pairs(right->at(0), n->at(half + 1), right->count);
    if (!n->leaf) {
      for (size_t k = 0; k <= right->count; ++k) {
        right->set_kid(k, n->kid(half + 1 + k));
        n->inner()->kids[half + 1 + k] = nullptr;
      }
    }
    detail::relocate_pairs(parent->at(i + 1), parent->at(i), parent->count - i);
    detail::relocate_pairs(parent->at(i), n->at(half), 1);
    for (size_t k = parent->count; k > i; --k) parent->set_kid(k + 1, parent->kid(k));
    ++parent->count;
    parent->set_kid(i + 1, right);
    detail::clear_places(n->at(half), kMost - half);
    n->count = static_cast<uint16_t>(half);
    return right;
  }

  // Moves entry i of n to `gone` and mends the tree.
  void take_out(node* n, size_t i, pending& gone) noexcept {
    detail::relocate_pairs(gone.place.at(), n->at(i), 1);
    gone.full = true;
    if (!n->leaf) {
      // The one before it, which lies in a leaf, takes its place.
      node* leaf = n->kid(i);
      while (!leaf->leaf) leaf = leaf->kid(leaf->count);
      detail::relocate_pairs(n->at(i), leaf->at(leaf->count - size_t{1}), 1);
      n = leaf;
      i = leaf->count - size_t{1};
    }
    close_gap(n, i);
    --size_;
    while (n->count < kLeast && n->up() != nullptr) n = mend(n);
    if (n->up() == nullptr && n->count == 0) {
      if (n->leaf) {
        root_ = nullptr;
      } else {
        n->kid(0)->parent = nullptr;
        n->kid(0)->position = 0;
        root_ = ptr<void>(n->kid(0));
      }
    }
  }
  static void close_gap(node* n, size_t i) noexcept {
    detail::relocate_pairs(n->at(i), n->at(i + 1), n->count - i - 1);
    --n->count;
    detail::clear_places(n->at(n->count), 1);
  }
  // n has one entry too few. Takes one from a neighbour, or makes one node of both. Returns the node to look at next: the parent.
  static node* mend(node* n) noexcept {
    node* const parent = n->up();
    const size_t i = n->position;
    node* const left = i > 0 ? parent->kid(i - 1) : nullptr;
    node* const right = i < parent->count ? parent->kid(i + 1) : nullptr;
    if (left != nullptr && left->count > kLeast) {
      const size_t last = left->count - size_t{1};
      detail::relocate_pairs(n->at(1), n->at(0), n->count);
      detail::relocate_pairs(n->at(0), parent->at(i - 1), 1);
      detail::relocate_pairs(parent->at(i - 1), left->at(last), 1);
      detail::clear_places(left->at(last), 1);
      ++n->count;
      if (!n->leaf) {
        for (size_t k = n->count; k > 0; --k) n->set_kid(k, n->kid(k - 1));
        n->set_kid(0, left->kid(last + 1));
        left->inner()->kids[last + 1] = nullptr;
      }
      left->count = static_cast<uint16_t>(last);
    } else if (right != nullptr && right->count > kLeast) {
      detail::relocate_pairs(n->at(n->count), parent->at(i), 1);
      detail::relocate_pairs(parent->at(i), right->at(0), 1);
      ++n->count;
      if (!n->leaf) {
        n->set_kid(n->count, right->kid(0));
        for (size_t k = 0; k < right->count; ++k) right->set_kid(k, right->kid(k + 1));
        right->inner()->kids[right->count] = nullptr;
      }
      close_gap(right, 0);
    } else if (left != nullptr) {
      merge(parent, i - 1);
    } else {
      merge(parent, i);
    }
    return parent;
  }
  // Child i, the entry behind it and child i + 1 become one.
  static void merge(node* parent, size_t i) noexcept {
    node* const left = parent->kid(i);
    node* const right = parent->kid(i + 1);
    detail::relocate_pairs(left->at(left->count), parent->at(i), 1);
    detail::relocate_pairs(left->at(left->count + size_t{1}), right->at(0), right->count);
    if (!left->leaf) {
      for (size_t k = 0; k <= right->count; ++k) left->set_kid(left->count + 1 + k, right->kid(k));
    }
    left->count = static_cast<uint16_t>(left->count + right->count + 1);
    right->count = 0;
    for (size_t k = i + 1; k < parent->count; ++k) parent->set_kid(k, parent->kid(k + 1));
    parent->inner()->kids[parent->count] = nullptr;
    close_gap(parent, i);
  }

  void forget() noexcept {
    root_ = nullptr;
    size_ = 0;
  }

  const char* check(node* n, size_t depth, size_t* seen) const {
    if (n->leaf != (depth == 0)) return "leaves at different depths";
    if (n != root() && (n->count < kLeast || n->count > kMost)) return "a node with too few or too many entries";
    for (size_t i = 0; i + 1 < n->count; ++i) {
      if (!Compare()(n->key(i), n->key(i + 1))) return "a node out of order";
    }
    *seen += n->count;
    if (n->leaf) return nullptr;
    for (size_t i = 0; i <= n->count; ++i) {
      node* const k = n->kid(i);
      if (k->up() != n || k->position != i) return "a child that points elsewhere";
      if (i < n->count && !Compare()(k->key(k->count - size_t{1}), n->key(i))) return "a child out of order";
      if (i > 0 && !Compare()(n->key(i - 1), k->key(0))) return "a child out of order";
      if (const char* wrong = check(k, depth - 1, seen)) return wrong;
    }
    return nullptr;
  }

  ptr<void> root_;  // a node. Not ptr<node>: a V may contain a map of Vs, and is incomplete then
  size_t size_ = 0;
  WARREN_FIELDS(root_, size_);
};

template <class K, class V, class Cmp, class F>
size_t erase_if(ordered_map<K, V, Cmp>& m, F pred) {
  const size_t was = m.size();
  for (auto i = m.begin(); i != m.end();) i = pred(*i) ? m.erase(i) : std::next(i);
  return was - m.size();
}

// {key: value, key: value}, in order.
template <class C, class Tr, class K, class V, class Cmp>
std::basic_ostream<C, Tr>& operator<<(std::basic_ostream<C, Tr>& os, const ordered_map<K, V, Cmp>& m) {
  os << '{';
  const char* between = "";
  for (const auto& [k, v] : m) {
    os << between << k << ": " << v;
    between = ", ";
  }
  return os << '}';
}

}  // namespace warren

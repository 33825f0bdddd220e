// A few values that are costly to make, by the key that they were made for.

#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace lockstep {

/// Keeps the values of the last `capacity` different keys.
template <class Key, class Value, std::size_t capacity>
class RecentlyUsed {
 public:
  /// The value of `key`, from `make()` where there is none yet. It stays where it is until the next
  /// call.
  template <class Make>
  [[nodiscard]] Value& get(const Key& key, Make&& make) {
    auto entry = std::ranges::find(entries_, key, &Entry::first);
    if (entry == entries_.end()) {
      Value value = make();
      if (entries_.size() == capacity) entries_.pop_back();
      entry = entries_.insert(entries_.end(), Entry(key, std::move(value)));
    }
    std::rotate(entries_.begin(), entry, entry + 1);
    return entries_.front().second;
  }

  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

 private:
  using Entry = std::pair<Key, Value>;
  std::vector<Entry> entries_;  // the last used one first
};

}  // namespace lockstep

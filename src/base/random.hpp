// Random numbers that are a pure function of what they are for, so that no rank needs a stream.

#pragma once

#include <cstdint>
#include <string_view>

namespace lockstep {

/// Key of a family of random numbers: mix in seed, purpose, step, layer, sample ...
class RandomKey {
 public:
  explicit constexpr RandomKey(std::uint64_t seed) noexcept : state_(scramble(seed)) {}

  /// A key that depends on this one and on `value`.
  [[nodiscard]] constexpr RandomKey with(std::uint64_t value) const noexcept {
    RandomKey key(*this);
    key.state_ = scramble(state_ ^ scramble(value + 0x9e3779b97f4a7c15ULL));
    return key;
  }
  [[nodiscard]] constexpr RandomKey with(std::int64_t value) const noexcept {
    return with(static_cast<std::uint64_t>(value));
  }
  [[nodiscard]] constexpr RandomKey with(std::string_view text) const noexcept {
    // FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    return with(hash);
  }

  /// The i-th 64 random bits of this key.
  [[nodiscard]] constexpr std::uint64_t bits(std::uint64_t i) const noexcept {
    return scramble(state_ + (i + 1) * 0x9e3779b97f4a7c15ULL);
  }
  /// The i-th number in [0, 1), 53 bits.
  [[nodiscard]] constexpr double uniform(std::uint64_t i) const noexcept {
    return static_cast<double>(bits(i) >> 11) * 0x1p-53;
  }
  /// The i-th standard normal number (Box-Muller).
  [[nodiscard]] double normal(std::uint64_t i) const noexcept;

 private:
  // Finalizer of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
  static constexpr std::uint64_t scramble(std::uint64_t z) noexcept {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }

  std::uint64_t state_;
};

}  // namespace lockstep

#include "base/fingerprint.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/random.hpp"

namespace lockstep {

// Each step is a bijection of the key so far, and of the word: what differed once stays so. Words
// go to keys in turns, so that the processor can work on several at once.
std::uint64_t fingerprint_of(std::span<const std::byte> bytes) noexcept {
  RandomKey result(bytes.size());
  std::array keys{result.with(std::uint64_t{0}), result.with(std::uint64_t{1}),
                  result.with(std::uint64_t{2}), result.with(std::uint64_t{3})};
  constexpr std::size_t num_bytes = keys.size() * sizeof(std::uint64_t);
  for (std::size_t first = 0; first < bytes.size(); first += num_bytes) {
    std::array<std::uint64_t, keys.size()> words{};
    std::memcpy(words.data(), bytes.data() + first, std::min(num_bytes, bytes.size() - first));
    for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = keys[i].with(words[i]);
  }
  for (const RandomKey& key : keys) result = result.with(key.bits(0));
  return result.bits(0);
}

}  // namespace lockstep

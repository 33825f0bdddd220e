#include "base/fingerprint.hpp"

#include <algorithm>
#include <cstring>

#include "base/random.hpp"

namespace lockstep {

// Each step is a bijection of the key so far, and of the word: what differed once stays so.
std::uint64_t fingerprint_of(std::span<const std::byte> bytes) noexcept {
  RandomKey key(bytes.size());
  for (std::size_t first = 0; first < bytes.size(); first += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + first, std::min(sizeof word, bytes.size() - first));
    key = key.with(word);
  }
  return key.bits(0);
}

}  // namespace lockstep

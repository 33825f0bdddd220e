// Makes the bytes of IDX files, good and bad ones.

#pragma once

#include <bit>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <vector>

namespace lockstep::testing {

template <class T>
std::string big_endian_bytes(T value) {
  using Bits = std::conditional_t<
      sizeof(T) == 1, std::uint8_t,
      std::conditional_t<sizeof(T) == 2, std::uint16_t,
                         std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>>;
  const std::uint64_t bits = std::bit_cast<Bits>(value);
  std::string bytes;
  for (std::size_t i = sizeof(T); i-- > 0;) bytes += static_cast<char>(bits >> (8 * i) & 0xff);
  return bytes;
}

inline std::string idx_header(std::uint8_t code, const std::vector<std::uint32_t>& dimensions) {
  std::string bytes{'\0', '\0', static_cast<char>(code), static_cast<char>(dimensions.size())};
  for (const std::uint32_t dimension : dimensions) bytes += big_endian_bytes(dimension);
  return bytes;
}

template <class T>
std::string idx_bytes(std::uint8_t code, const std::vector<std::uint32_t>& dimensions,
                      const std::vector<T>& values) {
  std::string bytes = idx_header(code, dimensions);
  for (const T value : values) bytes += big_endian_bytes(value);
  return bytes;
}

}  // namespace lockstep::testing

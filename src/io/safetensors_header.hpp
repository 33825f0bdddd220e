// The header of a safetensors file: from untrusted bytes to entries that fit the file, and back.

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lockstep/io/safetensors.hpp"

namespace lockstep {

/// Bytes of a file before its header: the header's length, as 64 bits.
inline constexpr std::size_t num_length_bytes = 8;

/// Throws the DataError of bytes that are no safetensors file.
[[noreturn]] void refuse_safetensors(std::string_view what, std::uint64_t offset,
                                     std::string_view problem);

/// The length of the header from the first bytes of a file of `num_bytes` bytes, which are as many
/// as it has up to num_length_bytes. Throws DataError when the file is too short for it.
[[nodiscard]] std::uint64_t header_length_of(std::span<const std::byte> first_bytes,
                                             std::uint64_t num_bytes, std::string_view what);

/// What the first bytes of a file of `num_bytes` bytes, length and header, say. Throws DataError
/// unless the entries fit them and each other.
[[nodiscard]] SafetensorsHeader parse_safetensors_header(std::span<const std::byte> first_bytes,
                                                         std::uint64_t num_bytes,
                                                         std::string_view what);

/// Length and header, with checksums, of a file with these tensors; `entries` have all of them.
/// Throws ArgumentError as safetensors_of() does.
[[nodiscard]] std::string safetensors_header_of(const std::vector<TensorEntry>& entries,
                                                const std::map<std::string, std::string>& metadata);

}  // namespace lockstep

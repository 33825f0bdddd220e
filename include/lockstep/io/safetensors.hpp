// Reads and writes safetensors files (https://github.com/huggingface/safetensors), with checksums.

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lockstep/base/dtype.hpp"
#include "lockstep/base/export.hpp"
#include "lockstep/base/shape.hpp"
#include "lockstep/base/tensor.hpp"

namespace lockstep {

/// Tensors by name, and texts about them. Metadata whose names begin with "lockstep." belong to the
/// library.
struct TensorFile {
  std::map<std::string, Tensor> tensors = {};
  std::map<std::string, std::string> metadata = {};
};

/// Where a tensor lies among the data of a file.
struct TensorEntry {
  std::string name;
  DType dtype = DType::float32;
  Shape shape;
  std::uint64_t first = 0;  ///< offset of its first byte, and of the first one behind it
  std::uint64_t last = 0;
  std::optional<std::uint32_t> checksum;  ///< CRC-32C of its bytes; empty in files of others
};

/// What a file says it holds.
struct SafetensorsHeader {
  std::vector<TensorEntry> entries;             ///< in the order of their data
  std::map<std::string, std::string> metadata;  ///< without checksums
  /// The file is lockstep's own: checksums cover each of its bytes.
  bool has_checksums = false;
  std::uint64_t num_header_bytes = 0;  ///< in front of the data
};

/// Largest size of the JSON text of a header.
inline constexpr std::uint64_t max_safetensors_header = std::uint64_t{1} << 24;

/// The content of a file as bytes. Whatever they are: either they are what they say, or DataError
/// says at which byte something is wrong, what was expected and what was found. Refused are headers
/// that are too long, nested, ambiguous or hold what the format does not know; dtypes that DType
/// does not have; data that overlap, leave gaps, lie unaligned or do not end with the file;
/// booleans other than 0 and 1; and, in files of lockstep, every byte that does not fit its
/// checksum. Memory is taken only for what is there. `what` names the bytes in errors.
[[nodiscard]] LOCKSTEP_EXPORT TensorFile read_safetensors(std::span<const std::byte> bytes,
                                                          const std::string& what = "bytes");
/// The same of a file, which DataError names; it also says why a file cannot be opened.
[[nodiscard]] LOCKSTEP_EXPORT TensorFile read_safetensors(const std::filesystem::path& path);

/// Only the header, checked against its checksum and the size of the file.
[[nodiscard]] LOCKSTEP_EXPORT SafetensorsHeader
read_safetensors_header(const std::filesystem::path& path);
/// Reads everything, with the checks and errors of read_safetensors(), and keeps only the header.
LOCKSTEP_EXPORT SafetensorsHeader verify_safetensors(const std::filesystem::path& path);

/// The bytes of a file with checksums. Throws ArgumentError for a name or text that is not UTF-8,
/// for the name "__metadata__" and for a header that would be too long.
[[nodiscard]] LOCKSTEP_EXPORT std::vector<std::byte> safetensors_of(const TensorFile& content);

/// Makes the content that of the file, which is written beside it, read back, and put in its place
/// only then: whatever fails, and whenever the process dies, the file is the old one or the new
/// one, whole. Throws DataError with the path and the system's reason, ArgumentError as
/// safetensors_of() does.
LOCKSTEP_EXPORT void write_safetensors(const std::filesystem::path& path,
                                       const TensorFile& content);

}  // namespace lockstep

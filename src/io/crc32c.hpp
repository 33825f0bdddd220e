// CRC-32C, the checksum that detects every change of up to three bits and every burst of 32.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace lockstep {

/// The checksum of bytes that follow those of which `before` is the checksum (RFC 3720, appendix
/// B.4: polynomial 0x1edc6f41, bits reflected).
[[nodiscard]] std::uint32_t crc32c(std::span<const std::byte> bytes,
                                   std::uint32_t before = 0) noexcept;

}  // namespace lockstep

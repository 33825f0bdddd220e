// Memory as a number, to be compared.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace lockstep {

/// A number that says with certainty that two pieces of memory of one length differ where at most
/// one of their aligned words of 8 bytes does, and for others errs with a probability of 2^-64.
/// Not against those who want it to err.
[[nodiscard]] std::uint64_t fingerprint_of(std::span<const std::byte> bytes) noexcept;

}  // namespace lockstep

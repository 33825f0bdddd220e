// Sums and offsets per channel on raw memory.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/columns.hpp"

namespace lockstep {

/// The sum of `count` values, in several chains that do not wait for each other.
template <class T>
[[nodiscard]] double sum_of(const T* values, std::int64_t count) {
  constexpr std::int64_t num_chains = 8;
  std::array<double, num_chains> chains{};
  std::int64_t i = 0;
  for (; i + num_chains <= count; i += num_chains)
    for (std::int64_t k = 0; k < num_chains; ++k)
      chains[static_cast<std::size_t>(k)] += static_cast<double>(values[i + k]);
  double sum = 0.0;
  for (; i < count; ++i) sum += static_cast<double>(values[i]);
  for (const double chain : chains) sum += chain;
  return sum;
}

/// sums[c] += sum of the values of channel c.
template <class T>
void add_channel_sums(const Columns& columns, const T* values, double* sums) {
  if (columns.inner != 1) {
    for (std::int64_t i = 0; i < columns.outer; ++i)
      for (std::int64_t c = 0; c < columns.channels; ++c, values += columns.inner)
        sums[c] += sum_of(values, columns.inner);
    return;
  }
  // Four rows at once, so that sums are loaded and stored once for four values.
  const std::int64_t channels = columns.channels;
  std::int64_t i = 0;
  for (; i + 4 <= columns.outer; i += 4, values += 4 * channels)
    for (std::int64_t c = 0; c < channels; ++c)
      sums[c] += (static_cast<double>(values[c]) + static_cast<double>(values[channels + c])) +
                 (static_cast<double>(values[2 * channels + c]) +
                  static_cast<double>(values[3 * channels + c]));
  for (; i < columns.outer; ++i, values += channels)
    for (std::int64_t c = 0; c < channels; ++c) sums[c] += static_cast<double>(values[c]);
}

/// Adds offsets[c] to all values of channel c.
template <class T>
void add_to_channels(const Columns& columns, const T* offsets, T* values) {
  for (std::int64_t i = 0; i < columns.outer; ++i)
    for (std::int64_t c = 0; c < columns.channels; ++c)
      for (std::int64_t j = 0; j < columns.inner; ++j) *values++ += offsets[c];
}

}  // namespace lockstep

// Sums and offsets per channel on raw memory.

#pragma once

#include <cstdint>

#include "kernels/columns.hpp"

namespace lockstep {

/// sums[c] += sum of the values of channel c.
template <class T>
void add_channel_sums(const Columns& columns, const T* values, double* sums) {
  for (std::int64_t i = 0; i < columns.outer; ++i)
    for (std::int64_t c = 0; c < columns.channels; ++c) {
      double sum = 0.0;
      for (std::int64_t j = 0; j < columns.inner; ++j) sum += static_cast<double>(*values++);
      sums[c] += sum;
    }
}

/// Adds offsets[c] to all values of channel c.
template <class T>
void add_to_channels(const Columns& columns, const T* offsets, T* values) {
  for (std::int64_t i = 0; i < columns.outer; ++i)
    for (std::int64_t c = 0; c < columns.channels; ++c)
      for (std::int64_t j = 0; j < columns.inner; ++j) *values++ += offsets[c];
}

}  // namespace lockstep

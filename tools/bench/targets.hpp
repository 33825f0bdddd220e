// How fast things are meant to be.

#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "bench/row.hpp"
#include "bench/workload.hpp"

/// Shapes as small as this are judged by microseconds, not by ratios: 64 KiB.
[[nodiscard]] bool is_tiny(const Workload& workload) noexcept;

/// Tensors that are larger than what a cache keeps for one rank: from 16 MiB on.
[[nodiscard]] bool is_memory_size(const Workload& workload) noexcept;

/// The target of a measure of the layer, by its name in the table; none where none is defined, such
/// as for types other than float32. `local_seconds` is what the layer that is not synchronized
/// takes for the same.
[[nodiscard]] std::optional<Target> target_of(std::string_view what, const Workload& workload,
                                              int num_ranks, double local_seconds);

/// Of a merge of 2 * num_channels + 1 numbers.
[[nodiscard]] std::optional<Target> merge_target(std::int64_t num_channels, int num_ranks);

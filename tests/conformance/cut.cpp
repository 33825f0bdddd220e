#include "conformance/cut.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <numeric>

namespace lockstep::conformance {
namespace {

// Whether no rank could take a part: of channels, or of a batch whose samples are channels.
bool cuts_channels(const Case& one) {
  const int rank = one.steps.front().inputs.at("x").shape.rank();
  return std::ranges::any_of(one.options.axis.values(), [&](int axis) {
    const int from_front = axis < 0 ? axis + rank : axis;
    return from_front == one.split_axis || from_front == 0;
  });
}

}  // namespace

std::vector<Cut> cuts_of(const Case& one, int num_ranks) {
  Cut cut;
  if (num_ranks == 1 || cuts_channels(one)) return {cut};
  cut.is_shared = true;
  cut.axis = one.split_axis;
  if (one.options.virtual_batch_size) cut.remainder = Remainder::first_rank;
  std::vector<Cut> cuts;
  for (const auto& sizes : one.splits) {
    if (sizes.size() != static_cast<std::size_t>(num_ranks)) continue;
    if (std::ranges::find(cuts, sizes, &Cut::sizes) != cuts.end()) continue;
    cut.sizes = sizes;
    cuts.push_back(cut);
  }
  if (cuts.empty()) cuts.push_back(cut);
  return cuts;
}

Shard part_of(const Cut& cut, std::int64_t extent, int rank, int num_ranks) {
  if (!cut.is_shared) return {0, extent};
  const auto first = cut.sizes.begin();
  if (!cut.sizes.empty() && std::accumulate(first, cut.sizes.end(), std::int64_t{0}) == extent)
    return {std::accumulate(first, first + rank, std::int64_t{0}), first[rank]};
  if (cut.remainder == Remainder::first_rank) return {0, rank == 0 ? extent : 0};
  return shard_of(extent, rank, num_ranks);
}

Array slice(const Array& array, int axis, const Shard& part) {
  const std::int64_t extent = array.shape[axis];
  Array result{array.shape.with(axis, part.count), {}};
  std::int64_t outer = 1;
  for (int i = 0; i < axis; ++i) outer *= array.shape[i];
  std::int64_t inner = 1;
  for (int i = axis + 1; i < array.shape.rank(); ++i) inner *= array.shape[i];
  for (std::int64_t i = 0; i < outer; ++i) {
    const auto first = array.values.begin() + (i * extent + part.first) * inner;
    result.values.insert(result.values.end(), first, first + part.count * inner);
  }
  return result;
}

std::string to_string(const Cut& cut) {
  if (!cut.is_shared) return "whole";
  if (!cut.sizes.empty()) return fmt::format("split {}", fmt::join(cut.sizes, "+"));
  return cut.remainder == Remainder::even ? "even" : "all on rank 0";
}

}  // namespace lockstep::conformance

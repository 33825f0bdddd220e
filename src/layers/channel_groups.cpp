#include "layers/channel_groups.hpp"

#include <algorithm>

namespace lockstep {
namespace {

// A group should be this large: less is more messages, more does not stay in the second-level
// cache.
constexpr std::int64_t usual_group_bytes = 256 * 1024;
// And all groups on their way together no more than this, or they are read from memory twice after
// all, and in small pieces.
constexpr double cached_bytes = 1600.0 * 1024.0;
// Smaller tensors stay in the cache between two passes anyway.
constexpr double min_tensor_bytes = 8.0 * 1024.0 * 1024.0;

// Of groups of at most `most` channels, all of one size.
std::size_t largest_divisor(std::size_t num_channels, std::size_t most) noexcept {
  std::size_t divisor = std::min(most, num_channels);
  while (num_channels % divisor != 0) --divisor;
  return divisor;
}

}  // namespace

std::size_t channels_per_group(const Grouping& g) noexcept {
  const auto bytes = static_cast<double>(g.group_bytes.value_or(usual_group_bytes));
  if (bytes <= 0.0 || !(g.channel_bytes > 0.0)) return g.num_channels;
  const double most = std::clamp(bytes / g.channel_bytes, 1.0, static_cast<double>(g.num_channels));
  const std::size_t result = largest_divisor(g.num_channels, static_cast<std::size_t>(most));
  if (g.group_bytes) return result;
  constexpr double num_groups_on_their_way = 2.0;
  const double bytes_on_their_way =
      num_groups_on_their_way * g.num_tensors * static_cast<double>(result) * g.channel_bytes;
  const bool pays = g.is_alone && bytes_on_their_way <= cached_bytes &&
                    g.channel_bytes * static_cast<double>(g.num_channels) >= min_tensor_bytes &&
                    2.0 * static_cast<double>(result) >= most;
  return pays ? result : g.num_channels;
}

void run_in_groups(GroupedPass& pass, Exchange& exchange, std::int64_t step, const Content& content,
                   std::optional<Failure> failure) {
  const std::size_t num_groups = exchange.num_parts();
  const bool is_alone = exchange.group().is_solo();
  const std::size_t lag = is_alone ? 1 : 2;
  const auto finish = [&](std::size_t group) {
    exchange.finish();
    pass.settle(group);
  };
  for (std::size_t group = 0; group < num_groups; ++group) {
    if (!failure)
      failure = attempt([&] {
        pass.sum(group, [&](std::int64_t n) {
          if (group >= lag) pass.write(group - lag, n);
        });
      });
    if (!is_alone && group > 0) finish(group - 1);
    if (!failure) pass.send(group);
    exchange.start(step, failure, failure ? Content() : content);
    if (is_alone) finish(group);
  }
  if (!is_alone) finish(num_groups - 1);
  for (std::size_t group = num_groups - std::min(lag, num_groups); group < num_groups; ++group)
    for (std::int64_t n = 0; n < pass.num_samples(); ++n) pass.write(group, n);
  flush_streams();
}

}  // namespace lockstep

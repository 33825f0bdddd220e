#include "bench/merge_bench.hpp"

#include <spdlog/fmt/fmt.h>

#include <map>

#include "bench/targets.hpp"
#include "lockstep/comm/collectives.hpp"

namespace ls = lockstep;

std::vector<Row> merge_rows(const ls::Communicator& world, const MeasureOptions& options) {
  if (world.is_solo()) return {};
  std::map<std::int64_t, std::vector<double>> messages;
  std::vector<Candidate> candidates;
  const auto name = [](std::int64_t channels) { return fmt::format("merge of 2*{}+1", channels); };
  for (const std::int64_t channels : {64, 1024, 4096}) {
    auto& message = messages[channels];
    message.resize(static_cast<std::size_t>(2 * channels + 1));
    candidates.push_back(
        {name(channels), [&] { ls::allreduce(world, message, ls::Reduction::sum); }});
  }
  const auto series = measure(world, candidates, options);
  std::vector<Row> rows;
  for (const auto& [channels, message] : messages) {
    const Series& measured = series.at(name(channels));
    rows.push_back({.dtype = "float64",
                    .what = name(channels),
                    .microseconds = 1e6 * median_of(measured),
                    .spread = spread_of(measured),
                    .target = merge_target(channels, world.size())});
  }
  return rows;
}

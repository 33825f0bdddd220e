#include "bench/measure.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

#include "lockstep/comm/collectives.hpp"

namespace ls = lockstep;

namespace {

double largest_on_any_rank(const ls::Communicator& world, double value) {
  std::array<double, 1> values{value};
  ls::allreduce(world, values, ls::Reduction::maximum);
  return values[0];
}

// Seconds of the slowest rank. No rank leaves the first reduction before all have come to it.
double seconds_of(const ls::Communicator& world, const Candidate& candidate, std::int64_t num_calls,
                  const MeasureOptions& options) {
  (void)largest_on_any_rank(world, 0.0);
  const double start = options.now();
  for (std::int64_t i = 0; i < num_calls; ++i) candidate.call();
  return largest_on_any_rank(world, options.now() - start);
}

std::int64_t num_calls_of(const ls::Communicator& world, const Candidate& candidate,
                          const MeasureOptions& options) {
  constexpr std::int64_t most = 1 << 20;
  candidate.call();
  std::int64_t num_calls = 1;
  while (num_calls < most &&
         seconds_of(world, candidate, num_calls, options) < options.shortest_sample)
    num_calls *= 2;
  return num_calls;
}

// Between two values, linearly.
double quantile(Series series, double share) {
  std::ranges::sort(series);
  const double place = share * static_cast<double>(series.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, series.size() - 1);
  return std::lerp(series[below], series[above], place - static_cast<double>(below));
}

}  // namespace

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::map<std::string, Series> measure(const ls::Communicator& world,
                                      const std::vector<Candidate>& candidates,
                                      const MeasureOptions& options) {
  std::vector<std::int64_t> num_calls;
  for (const Candidate& candidate : candidates)
    num_calls.push_back(num_calls_of(world, candidate, options));
  std::map<std::string, Series> result;
  for (std::int64_t round = 0; round < options.rounds; ++round)
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      candidates[i].call();
      const double seconds = seconds_of(world, candidates[i], num_calls[i], options);
      result[candidates[i].name].push_back(seconds / static_cast<double>(num_calls[i]));
    }
  return result;
}

double median_of(const Series& series) { return quantile(series, 0.5); }

double spread_of(const Series& series) {
  return (quantile(series, 0.75) - quantile(series, 0.25)) / median_of(series);
}

double ratio_of(const Series& series, const Series& base) {
  return median_of(by_round(series, base, std::divides<>()));
}

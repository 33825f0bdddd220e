// Times things side by side, so that what disturbs the machine disturbs them alike.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "lockstep/comm/communicator.hpp"

/// Seconds per call of the slowest rank, one number per round.
using Series = std::vector<double>;

/// Something to time, on all ranks alike; it may be collective.
struct Candidate {
  std::string name;
  std::function<void()> call;
};

/// Seconds on a clock that never goes back.
[[nodiscard]] double steady_seconds();

struct MeasureOptions {
  std::int64_t rounds = 11;
  double shortest_sample = 1e-3;  ///< seconds; a sample is as many calls as that takes
  std::function<double()> now = steady_seconds;
};

/// In every round each candidate in turn gives one sample: a call that warms up, a barrier, and
/// then its calls. By name. Collective.
[[nodiscard]] std::map<std::string, Series> measure(const lockstep::Communicator& world,
                                                    const std::vector<Candidate>& candidates,
                                                    const MeasureOptions& options);

/// The middle value, or the mean of the two in the middle.
[[nodiscard]] double median_of(const Series& series);

/// From the first quartile to the third, over the median.
[[nodiscard]] double spread_of(const Series& series);

/// combine(a, b) of every round.
template <class Combine>
[[nodiscard]] Series by_round(const Series& a, const Series& b, const Combine& combine) {
  Series result(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) result[i] = combine(a[i], b[i]);
  return result;
}

/// Median of the ratios of the rounds.
[[nodiscard]] double ratio_of(const Series& series, const Series& base);

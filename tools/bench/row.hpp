// One measured thing.

#pragma once

#include <cstdint>
#include <optional>
#include <string>

/// What a measure should not exceed.
struct Target {
  enum class Of : std::uint8_t { ratio, microseconds };

  Of of = Of::ratio;
  double limit = 0.0;
};

struct Row {
  std::string shape = "-";
  std::string layout = "-";
  std::string dtype = "-";
  std::string what;
  double microseconds = 0.0;                    ///< median
  std::optional<double> spread = std::nullopt;  ///< between the quartiles, over the median
  std::string against = "-";                    ///< what the ratio compares with
  std::optional<double> ratio = std::nullopt;
  std::optional<Target> target = std::nullopt;
  std::optional<std::int64_t> num_wrong = std::nullopt;  ///< elements, over all ranks
};

/// Empty without a target.
[[nodiscard]] inline std::optional<bool> is_met(const Row& row) {
  if (!row.target) return std::nullopt;
  const double found = row.target->of == Target::Of::ratio ? row.ratio.value() : row.microseconds;
  return found <= row.target->limit;
}

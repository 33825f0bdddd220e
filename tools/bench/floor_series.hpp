// The floor of a workload: what is timed, and what follows from the times.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "bench/buffers.hpp"
#include "bench/measure.hpp"
#include "bench/workload.hpp"

/// Two passes forward, two backward, one in inference, and those with a residual, each with regular
/// and with streaming stores. `buffers` must outlive them.
[[nodiscard]] std::vector<Candidate> floor_candidates(const Buffers& buffers);

/// Of each floor the series of those stores whose median is less.
class FloorSeries {
 public:
  /// `series` has those of floor_candidates().
  FloorSeries(const std::map<std::string, Series>& series, const Workload& workload);

  /// Read x; read x and write y.
  [[nodiscard]] const Series& forward() const noexcept { return forward_; }
  /// Read x and dy; read both and write dx.
  [[nodiscard]] const Series& backward() const noexcept { return backward_; }
  /// Read x and write y.
  [[nodiscard]] const Series& inference() const noexcept { return inference_; }

  /// What relu has to move beyond the plain pass, and a residual with it. A gate bit per element is
  /// written forward and read in both passes backward, at the floor's time per byte; reading the
  /// residual, and writing its gradient, cost what the floor with them takes longer than the floor
  /// without.
  [[nodiscard]] Series own_traffic_forward(bool has_residual) const;
  [[nodiscard]] Series own_traffic_backward(bool has_residual) const;

 private:
  Series forward_, backward_, inference_, residual_forward_, residual_backward_;
  double element_bytes_;
};

#include "bench/floor_series.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include "bench/floor.hpp"
#include "lockstep/base/dtype.hpp"

namespace {

// Bytes that a pass moves per byte of the tensor, with both passes of a direction.
constexpr double forward_bytes = 3.0;
constexpr double backward_bytes = 5.0;
constexpr double gate_bytes = 0.125;  // per element

void add_with(Stores stores, const std::string& suffix, const Buffers& buffers,
              std::vector<Candidate>& candidates) {
  const std::byte* const x = buffers.x.data();
  const std::byte* const residual = buffers.residual.data();
  const std::byte* const dy = buffers.dy.data();
  std::byte* const y = buffers.y.data();
  std::byte* const dx = buffers.dx.data();
  const auto size = static_cast<std::size_t>(buffers.x.view().num_elements()) *
                    lockstep::size_of(buffers.x.view().dtype());
  const auto add = [&](const std::string& name, std::function<void()> call) {
    candidates.push_back({name + suffix, std::move(call)});
  };
  add("floor forward", [=] {
    read_pass(x, size);
    write_pass(x, y, size, stores);
  });
  add("floor backward", [=] {
    read_pass(x, dy, size);
    write_pass(x, dy, dx, size, stores);
  });
  add("floor inference", [=] { write_pass(x, y, size, stores); });
  add("floor residual forward", [=] {
    read_pass(x, size);
    write_pass(x, residual, y, size, stores);
  });
  add("floor residual backward", [=] {
    read_pass(x, dy, size);
    write_pass(x, dy, dx, y, size, stores);
  });
}

const Series& better_of(const std::map<std::string, Series>& series, const std::string& name) {
  const Series& regular = series.at(name);
  const Series& streaming = series.at(name + ", streaming");
  return median_of(streaming) < median_of(regular) ? streaming : regular;
}

Series traffic(const Series& floor, const Series& with_residual, double gate_share,
               bool has_residual) {
  return by_round(floor, with_residual, [=](double without, double with) {
    return without * gate_share + (has_residual ? std::max(with - without, 0.0) : 0.0);
  });
}

}  // namespace

std::vector<Candidate> floor_candidates(const Buffers& buffers) {
  std::vector<Candidate> candidates;
  add_with(Stores::regular, "", buffers, candidates);
  add_with(Stores::streaming, ", streaming", buffers, candidates);
  return candidates;
}

FloorSeries::FloorSeries(const std::map<std::string, Series>& series, const Workload& workload)
    : forward_(better_of(series, "floor forward")),
      backward_(better_of(series, "floor backward")),
      inference_(better_of(series, "floor inference")),
      residual_forward_(better_of(series, "floor residual forward")),
      residual_backward_(better_of(series, "floor residual backward")),
      element_bytes_(static_cast<double>(lockstep::size_of(workload.dtype))) {}

Series FloorSeries::own_traffic_forward(bool has_residual) const {
  return traffic(forward_, residual_forward_, gate_bytes / (forward_bytes * element_bytes_),
                 has_residual);
}

Series FloorSeries::own_traffic_backward(bool has_residual) const {
  return traffic(backward_, residual_backward_,
                 2.0 * gate_bytes / (backward_bytes * element_bytes_), has_residual);
}

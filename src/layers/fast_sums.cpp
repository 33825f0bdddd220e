#include <algorithm>

#include "layers/batch_sums.hpp"

namespace lockstep {

void FastSums::add(Record& record, AfterSample after_sample) {
  std::ranges::fill(sums_, 0.0);
  const SumsView sums = sums_in(sums_);
  if (!record.has_ghosts) return record.add_sums(sums, after_sample);
  record.measure_ghosts(ghosts_);
  for (std::int64_t ghost = 0; ghost < record.num_ghosts(); ++ghost) record.add_ghost(ghost, sums);
}

void FastSums::write(const Record&, Exchange& exchange) {
  std::ranges::copy(sums_, exchange.payload().begin());
}

bool FastSums::take(Record& record, Exchange& exchange) {
  const SumsView sums = sums_in(exchange.payload().first(sums_.size()));
  if (record.has_ghosts) {
    record.take_batch_from_ghosts(sums);
    return false;
  }
  compute_moments(sums, record.moments);
  return is_far_anywhere(record.moments);
}

void FastSums::take_range(const Record& record, std::span<double> range) {
  record.take_range(range);
}

void FastSums::recenter(Record& record, std::span<const double> range) {
  lockstep::recenter(record.moments, range, dtype_, record.normalization.center);
}

void FastSums::finish(Record& record) noexcept { spoil_non_finite(record.moments); }

}  // namespace lockstep

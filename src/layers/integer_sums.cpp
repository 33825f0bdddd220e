#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/convert.hpp"
#include "kernels/exact_sums.hpp"
#include "layers/batch_sums.hpp"

namespace lockstep {
namespace {

constexpr auto kinds = {TermKind::positive, TermKind::any, TermKind::positive};

}  // namespace

IntegerSums::IntegerSums(std::size_t num_channels, DType dtype, const Variable& grid)
    : num_channels_(num_channels),
      dtype_(dtype),
      grid_(grid),
      sums_(kinds, num_channels),
      exponents_(num_exponents(num_channels)),
      is_due_(num_channels),
      is_spoiled_(num_channels),
      terms_(sums_length(num_channels)) {
  averages_.resize(num_channels);
}

void IntegerSums::set_first_exponents(Variable& grid) noexcept {
  const auto exponents = grid.value().values<std::int64_t>();
  const std::size_t num_channels = exponents.size() / moment_sums::num;
  for (std::size_t i = 0; i < exponents.size(); ++i)
    exponents[i] = first_moment_exponents[i / num_channels];
}

std::size_t IntegerSums::length() const noexcept {
  return ExactSums::num_words(kinds, num_channels_);
}

void IntegerSums::begin(Record& record) {
  const auto grid = grid_.value().values<std::int64_t>();
  std::ranges::copy(grid, exponents_.begin());
  record.grid.assign(grid.begin(), grid.end());
  std::ranges::fill(is_spoiled_, 0);
}

void IntegerSums::add(Record& record, Exchange& exchange) {
  sums_.reset(exponents_);
  if (record.has_ghosts)
    add_ghosts(record);
  else
    add_samples(record);
  sums_.write(record.has_ghosts ? record.num_ghosts() : record.num_samples(), exchange.integers());
}

void IntegerSums::add_samples(const Record& record) {
  const SumsView terms = sums_in(terms_);
  FixedPointSums& count = sums_.local(moment_sums::count);
  FixedPointSums& sum = sums_.local(moment_sums::sum);
  FixedPointSums& sum_squares = sums_.local(moment_sums::sum_squares);
  const double* const center = record.normalization.center.data();
  record.visit_batch([&]<class T>(const NormalizationBatch<T>& batch) {
    const Samples samples = samples_of(batch.layout, record.num_samples());
    if (add_single_moments(batch, samples, center, sum, sum_squares)) {
      if (has_coarse_terms<T>) sums_.note_coarse_terms();
      return count.add_equal(1.0, samples.count);
    }
    const bool has_weights = batch.weights.values != nullptr;
    if (!has_weights) count.add_equal(record.largest_sample_weight(), samples.count);
    for (std::int64_t n = 0; n < samples.count; ++n) {
      std::ranges::fill(terms_, 0.0);
      lockstep::add_sums(sample_of(batch, samples, n), center, terms.count.data(), terms.sum.data(),
                         terms.sum_squares.data());
      if (has_weights) count.add(terms.count);
      sum.add(terms.sum);
      sum_squares.add(terms.sum_squares);
    }
  });
}

// A ghost batch is a sample whose moments take the places of its sums.
void IntegerSums::add_ghosts(Record& record) {
  record.measure_ghosts(ghosts_);
  const SumsView terms = sums_in(terms_);
  for (std::int64_t ghost = 0; ghost < record.num_ghosts(); ++ghost) {
    std::ranges::fill(terms_, 0.0);
    record.add_ghost(ghost, terms);
    sums_.local(moment_sums::count).add(terms.count);
    sums_.local(moment_sums::sum).add(terms.sum);
    sums_.local(moment_sums::sum_squares).add(terms.sum_squares);
  }
}

bool IntegerSums::take(Record& record, Exchange& exchange) {
  sums_.read(exchange.integers());
  record.num_merged_samples = sums_.num_samples();
  if (record.has_ghosts) {
    take_ghosts(record);
  } else {
    compute_moments(sums_, record.moments);
  }
  const Moments& moments = record.has_ghosts ? averages_ : record.moments;
  const bool is_due = find_due(moments, !record.has_ghosts);
  if (!is_due) predict_exponents(moments, sums_.num_samples(), record.grid);
  return is_due;
}

void IntegerSums::take_ghosts(Record& record) {
  const SumsView sums = sums_in(terms_);
  for (std::size_t c = 0; c < num_channels_; ++c) {
    sums.count[c] = static_cast<double>(sums_.value(moment_sums::count, c));
    sums.sum[c] = static_cast<double>(sums_.value(moment_sums::sum, c));
    sums.sum_squares[c] = static_cast<double>(sums_.value(moment_sums::sum_squares, c));
    if (is_spoiled_[c] != 0)
      sums.sum[c] = sums.sum_squares[c] = std::numeric_limits<double>::quiet_NaN();
  }
  record.take_batch_from_ghosts(sums);
  averages_.count = record.count;
  averages_.variance = record.variance;
}

bool IntegerSums::find_due(const Moments& moments, bool have_centers) {
  bool is_any_due = sums_.has_outside();
  for (std::size_t c = 0; c < num_channels_; ++c) {
    is_due_[c] = is_coarse(sums_, moments, c) || (have_centers && is_far(moments, c));
    is_any_due = is_any_due || is_due_[c] != 0;
  }
  return is_any_due;
}

void IntegerSums::take_range(const Record& record, std::span<double> range) {
  range.back() = record.has_ghosts ? 1.0 : record.largest_sample_weight();
  const auto values = range.first(2 * num_channels_);
  if (record.has_ghosts)
    record.take_ghost_range(values);
  else
    record.take_range(values);
}

// Grids that the range gives are final: sums on them are neither too coarse nor outside.
void IntegerSums::recenter(Record& record, std::span<const double> range) {
  const double weight = range.back();
  for (std::size_t c = 0; c < num_channels_; ++c) {
    const double maximum = range[c], minimum = -range[num_channels_ + c];
    if (maximum < minimum) continue;  // nobody has an element
    is_spoiled_[c] = !std::isfinite(maximum) || !std::isfinite(minimum);
    if (is_spoiled_[c] != 0) continue;
    double& center = record.has_ghosts ? record.shift[c] : record.normalization.center[c];
    const auto distance = [&] { return std::max(maximum - center, center - minimum); };
    if (is_due_[c] == 0 && !may_be_outside(weight, distance(), c, exponents_)) continue;
    const double middle = rounded_to(dtype_, std::midpoint(maximum, minimum));
    if (!record.has_ghosts && std::isfinite(middle)) center = middle;
    fit_exponents(weight, distance(), c, exponents_);
    is_spoiled_[c] = exponents_[moment_sums::sum_squares * num_channels_ + c] > max_exponent;
  }
}

void IntegerSums::finish(Record& record) noexcept {
  if (!record.has_ghosts) {
    for (std::size_t c = 0; c < num_channels_; ++c)
      if (is_spoiled_[c] != 0)
        record.moments.variance[c] = std::numeric_limits<double>::quiet_NaN();
    spoil_non_finite(record.moments);
  }
  predict_exponents(record.has_ghosts ? averages_ : record.moments, sums_.num_samples(),
                    record.grid);
}

}  // namespace lockstep

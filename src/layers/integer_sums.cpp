#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/convert.hpp"
#include "kernels/sample_passes.hpp"
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

std::size_t IntegerSums::length(std::size_t num_channels) const noexcept {
  return ExactSums::num_words(kinds, num_channels);
}

void IntegerSums::begin(Record& record) {
  copy_channels<std::int64_t>(std::as_const(grid_).value().values<std::int64_t>(),
                              record.first_channel, exponents_, 0, moment_sums::num);
  record.grid = exponents_;
  std::ranges::fill(is_spoiled_, 0);
}

void IntegerSums::add(Record& record, AfterSample after_sample) {
  sums_.reset(exponents_);
  if (!record.has_ghosts) return add_samples(record, after_sample);
  record.measure_ghosts(ghosts_);
  for_each_ghost(record, [&](const SumsView& terms) {
    sums_.local(moment_sums::count).add(terms.count);
    sums_.local(moment_sums::sum).add(terms.sum);
    sums_.local(moment_sums::sum_squares).add(terms.sum_squares);
  });
}

void IntegerSums::write(const Record& record, Exchange& exchange) {
  sums_.write(record.has_ghosts ? record.num_ghosts() : record.num_samples(), exchange.integers());
}

// Calls visit(number, terms) for every sample; without weights its count is that of all.
template <class Visit>
void IntegerSums::for_each_sample(const Record& record, Visit&& visit) {
  const SumsView terms = sums_in(terms_);
  const double* const center = record.normalization.center.data();
  record.visit_batch([&]<class T>(const NormalizationBatch<T>& batch) {
    const SamplePasses<T> passes(batch, record.samples);
    for (std::int64_t n = 0; n < record.samples.count; ++n) {
      std::ranges::fill(terms_, 0.0);
      passes.add_sums(n, center, terms.count.data(), terms.sum.data(), terms.sum_squares.data());
      visit(n, terms);
    }
  });
}

// Calls visit(terms) for every ghost batch, which is a sample whose moments take the places of its
// sums.
template <class Visit>
void IntegerSums::for_each_ghost(const Record& record, Visit&& visit) {
  const SumsView terms = sums_in(terms_);
  for (std::int64_t ghost = 0; ghost < record.num_ghosts(); ++ghost) {
    std::ranges::fill(terms_, 0.0);
    record.add_ghost(ghost, terms);
    visit(terms);
  }
}

void IntegerSums::add_samples(const Record& record, AfterSample after_sample) {
  if (add_at_once(record)) return;
  FixedPointSums& count = sums_.local(moment_sums::count);
  FixedPointSums& sum = sums_.local(moment_sums::sum);
  FixedPointSums& sum_squares = sums_.local(moment_sums::sum_squares);
  const bool has_weights = record.all().weights.is_given;
  if (!has_weights) count.add_equal(record.largest_sample_weight(), record.samples.count);
  for_each_sample(record, [&](std::int64_t n, const SumsView& terms) {
    if (has_weights) count.add(terms.count);
    sum.add(terms.sum);
    sum_squares.add(terms.sum_squares);
    after_sample(n);
  });
}

bool IntegerSums::add_at_once(const Record& record) {
  if (record.is_part()) return false;
  FixedPointSums& sum = sums_.local(moment_sums::sum);
  FixedPointSums& sum_squares = sums_.local(moment_sums::sum_squares);
  bool is_done = false;
  record.visit_batch([&]<class T>(const NormalizationBatch<T>& batch) {
    is_done = add_single_moments(batch, record.samples, record.normalization.center.data(), sum,
                                 sum_squares);
    if (is_done && has_coarse_terms<T>) sums_.note_coarse_terms();
  });
  if (is_done) sums_.local(moment_sums::count).add_equal(1.0, record.samples.count);
  return is_done;
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
  find_outside(record, range.subspan(2 * num_channels_, num_channels_));
  const auto values = range.first(2 * num_channels_);
  if (record.has_ghosts)
    record.take_ghost_range(values);
  else
    record.take_range(values);
}

void IntegerSums::find_outside(const Record& record, std::span<double> outside) {
  std::ranges::fill(outside, 0.0);
  const auto find = [&](const SumsView& terms) {
    for (std::size_t c = 0; c < num_channels_; ++c)
      if (sums_.local(moment_sums::count).is_too_large(c, terms.count[c]) ||
          sums_.local(moment_sums::sum).is_too_large(c, terms.sum[c]) ||
          sums_.local(moment_sums::sum_squares).is_too_large(c, terms.sum_squares[c]))
        outside[c] = 1.0;
  };
  if (record.has_ghosts)
    for_each_ghost(record, find);
  else
    for_each_sample(record, [&](std::int64_t, const SumsView& terms) { find(terms); });
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
    const bool was_outside = range[2 * num_channels_ + c] != 0.0;
    if (is_due_[c] == 0 && !was_outside) continue;
    const double middle = rounded_to(dtype_, std::midpoint(maximum, minimum));
    if (!record.has_ghosts && std::isfinite(middle)) center = middle;
    fit_exponents(weight, std::max(maximum - center, center - minimum), c, exponents_);
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

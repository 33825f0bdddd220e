#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>

#include "kernels/sample_passes.hpp"
#include "layers/batch_gradient_sums.hpp"

namespace lockstep {
namespace {

constexpr std::initializer_list<TermKind> two_kinds = {TermKind::measured, TermKind::measured};
constexpr std::initializer_list<TermKind> four_kinds = {TermKind::measured, TermKind::measured,
                                                        TermKind::measured, TermKind::measured};

constexpr std::initializer_list<TermKind> kinds_of(bool is_adjusted) noexcept {
  return is_adjusted ? four_kinds : two_kinds;
}

}  // namespace

IntegerGradientSums::IntegerGradientSums(std::size_t num_channels, bool is_adjusted)
    : BatchGradientSums(num_channels, is_adjusted),
      sums_(kinds_of(is_adjusted), num_channels),
      exponents_(merged_.size()),
      is_due_(merged_.size()),
      is_spoiled_(merged_.size()),
      terms_(merged_.size()),
      largest_(2 * merged_.size()) {
  pairs_.clear(static_cast<std::int64_t>(num_channels));
}

void IntegerGradientSums::set_first_exponents(Variable& grid) noexcept {
  std::ranges::fill(grid.value().values<std::int64_t>(), first_measured_exponent);
}

std::size_t IntegerGradientSums::length(std::size_t num_channels) const noexcept {
  return ExactSums::num_words(kinds_of(is_adjusted_), num_channels);
}

// Calls visit(number) with terms_, for every sample or ghost batch.
template <class Visit>
void IntegerGradientSums::for_each_term(const Record& record, const TensorView& output_gradient,
                                        Visit&& visit) {
  if (record.has_ghosts) {
    take_columns(record, output_gradient, [](std::int64_t) {});
    const std::size_t num_columns = record.moments.count.size();
    for (std::size_t first = 0; first < num_columns; first += num_channels_) {
      for (std::size_t i = 0; i < terms_.size(); ++i)
        terms_[i] = columns_[i / num_channels_ * num_columns + first + i % num_channels_];
      visit(static_cast<std::int64_t>(first / num_channels_));
    }
    return;
  }
  record.visit_batch([&]<class T>(const NormalizationBatch<T>& batch) {
    const Samples& samples = record.samples;
    const T* gradient = output_gradient.values<T>().data();
    SamplePasses<T> passes(batch, samples, &pairs_);
    if (!is_adjusted_)
      passes.begin_gradients(view_of(record.output), view_of(record.normalization), gradient);
    for (std::int64_t n = 0; n < samples.count; ++n) {
      std::ranges::fill(terms_, 0.0);
      if (!is_adjusted_)
        passes.add_gradient_sums(n, terms_.data(), terms_.data() + num_channels_);
      else
        record.add_gradient_sums(sample_of(batch, samples, n), gradient + samples.first_of(n),
                                 view(terms_));
      visit(n);
    }
  });
}

bool IntegerGradientSums::add_at_once(const Record& record, const TensorView& output_gradient) {
  if (record.has_ghosts || record.is_part() || is_adjusted_) return false;
  bool is_done = false;
  bool is_coarse = false;
  record.visit_batch([&]<class T>(const NormalizationBatch<T>& batch) {
    is_done = add_single_gradients(
        batch, record.samples, view_of(record.output), view_of(record.normalization),
        output_gradient.values<T>().data(), sums_.local(0), sums_.local(1));
    is_coarse = is_done && has_coarse_terms<T>;
  });
  if (is_coarse) sums_.note_coarse_terms();
  return is_done;
}

void IntegerGradientSums::add_terms(const Record& record, const TensorView& output_gradient,
                                    AfterSample after_sample) {
  sums_.reset(exponents_);
  if (add_at_once(record, output_gradient)) return;
  for_each_term(record, output_gradient, [&](std::int64_t n) {
    for (std::size_t sum = 0; sum < sums_.num_sums(); ++sum)
      sums_.local(sum).add(std::span(terms_).subspan(sum * num_channels_, num_channels_));
    after_sample(n);
  });
}

void IntegerGradientSums::add(const Record& record, const TensorView& output_gradient,
                              AfterSample after_sample) {
  std::ranges::copy(std::span(record.gradient_grid).first(exponents_.size()), exponents_.begin());
  std::ranges::fill(is_spoiled_, 0);
  add_terms(record, output_gradient, after_sample);
}

void IntegerGradientSums::write(const Record& record, Exchange& exchange) {
  sums_.write(record.has_ghosts ? record.num_ghosts() : record.num_samples(), exchange.integers());
  sums_.read(exchange.integers());
  read_sums(local_);
}

void IntegerGradientSums::take(Record& record, const TensorView& output_gradient,
                               Exchange& exchange) {
  sums_.read(exchange.integers());
  if (find_due()) {
    // An activation of the user's may throw; the other ranks wait in both messages.
    auto failure = attempt([&] { take_largest(record, output_gradient); });
    exchange.maximum(largest_);
    fit_grids();
    if (!failure)
      failure = attempt([&] {
        add_terms(record, output_gradient, [](std::int64_t) {});
        write(record, exchange);
      });
    exchange.merge_again(failure);
    sums_.read(exchange.integers());
  }
  read_sums(merged_);
  for (std::size_t i = 0; i < exponents_.size(); ++i) {
    const std::size_t channel = i % num_channels_;
    const bool learns = is_spoiled_[i] == 0 && record.count[channel] > 0.0 &&
                        std::isfinite(record.variance[channel]);
    record.next_gradient_grid[i] =
        learns ? predicted_exponent(sums_, i / num_channels_, channel, exponents_[i])
               : record.gradient_grid[i];
  }
}

bool IntegerGradientSums::find_due() noexcept {
  bool is_any_due = sums_.has_outside();
  for (std::size_t i = 0; i < is_due_.size(); ++i) {
    is_due_[i] = is_coarse(sums_, i / num_channels_, i % num_channels_);
    is_any_due = is_any_due || is_due_[i] != 0;
  }
  return is_any_due;
}

void IntegerGradientSums::take_largest(const Record& record, const TensorView& output_gradient) {
  std::ranges::fill(largest_, 0.0);
  const std::size_t num_terms = terms_.size();
  // Single elements are terms that vector kernels round otherwise than these, in the last bits.
  const bool is_single = record.samples.num_elements == static_cast<std::int64_t>(num_channels_);
  for_each_term(record, output_gradient, [&](std::int64_t) {
    for (std::size_t i = 0; i < num_terms; ++i) {
      const double size = std::abs(terms_[i]);
      if (sums_.local(i / num_channels_).is_too_large(i % num_channels_, terms_[i]) ||
          (is_single && exponent_above(size) + 1 > exponents_[i]))
        largest_[num_terms + i] = 1.0;
      if (!(size <= largest_[i])) largest_[i] = std::isnan(largest_[i]) ? largest_[i] : size;
    }
  });
}

void IntegerGradientSums::fit_grids() noexcept {
  for (std::size_t i = 0; i < exponents_.size(); ++i) {
    const bool was_outside = largest_[exponents_.size() + i] != 0.0;
    if ((is_due_[i] != 0 || was_outside) && std::isfinite(largest_[i]) && largest_[i] > 0.0)
      exponents_[i] = exponent_above(largest_[i]) + 1;
    is_spoiled_[i] = !std::isfinite(largest_[i]) || exponents_[i] > max_exponent;
  }
}

void IntegerGradientSums::read_sums(std::vector<double>& target) const noexcept {
  for (std::size_t i = 0; i < target.size(); ++i)
    target[i] = is_spoiled_[i] != 0
                    ? std::numeric_limits<double>::quiet_NaN()
                    : static_cast<double>(sums_.value(i / num_channels_, i % num_channels_));
}

}  // namespace lockstep

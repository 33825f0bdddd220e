#include "kernels/fixed_point.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/vector_normalization.hpp"

namespace lockstep {
namespace {

constexpr double rounder_steps = 0x1.8p52;

std::int64_t bits_of(double value) noexcept { return std::bit_cast<std::int64_t>(value); }

// target += the integer between two sums with a rounder. Terms off the grid may leave any integer,
// which nobody will read: no overflow of theirs may be undefined.
void add_steps(double sum, double rounder, std::int64_t& target) noexcept {
  const std::uint64_t steps =
      static_cast<std::uint64_t>(bits_of(sum)) - static_cast<std::uint64_t>(bits_of(rounder));
  target = static_cast<std::int64_t>(static_cast<std::uint64_t>(target) + steps);
}

OutsideBits difference(double sum, double rounder) noexcept {
  return static_cast<OutsideBits>(bits_of(sum) ^ bits_of(rounder));
}

// Adds column i's term to the words of its sum.
OutsideBits add_term(const FixedPointRow& row, double term, std::int64_t i, std::int64_t& coarse,
                     std::int64_t& fine) noexcept {
  if (row.kind == TermKind::positive && term != 0.0 && term < row.fine_step[i])
    term = row.fine_step[i];
  const double sum = term + row.coarse_rounder[i];
  const double rest = term - (sum - row.coarse_rounder[i]);
  add_steps(sum, row.coarse_rounder[i], coarse);
  add_steps(rest + row.fine_rounder[i], row.fine_rounder[i], fine);
  return difference(sum, row.coarse_rounder[i]);
}

}  // namespace

OutsideBits add_terms_plainly(const FixedPointRow& row, const double* terms,
                              std::int64_t count) noexcept {
  OutsideBits outside = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    outside |= add_term(row, terms[i], i, row.coarse[i], row.fine[i]);
    if (row.kind != TermKind::measured) continue;
    const double rounder = row.coarse_rounder[i] * (1 << magnitude_shift);
    add_steps(std::abs(terms[i]) + rounder, rounder, row.magnitude[i]);
    if (terms[i] != 0.0)
      row.magnitude[i] =
          static_cast<std::int64_t>(static_cast<std::uint64_t>(row.magnitude[i]) + 1);
  }
  return outside;
}

OutsideBits add_terms(const FixedPointRow& row, const double* terms, std::int64_t count) noexcept {
  const VectorKernelTable* const table = vector_kernels(kernel_target());
  return table == nullptr ? add_terms_plainly(row, terms, count)
                          : table->add_terms(row, terms, count);
}

void FixedPointSums::reset(std::span<const std::int64_t> exponents) {
  const std::size_t num_columns = exponents.size();
  outside_ = 0;
  num_in_words_ = 0;
  for (auto* values : {&coarse_rounder_, &fine_rounder_, &coarse_step_, &fine_step_})
    values->resize(num_columns);
  for (auto* words : {&coarse_, &fine_, &magnitude_}) words->assign(num_columns, 0);
  totals_.assign(num_columns, 0);
  for (std::size_t i = 0; i < num_columns; ++i) {
    const std::int64_t exponent = std::clamp(exponents[i], min_exponent, max_exponent);
    coarse_step_[i] = power_of_two(exponent - coarse_bits);
    fine_step_[i] = power_of_two(exponent - coarse_bits - fine_bits);
    coarse_rounder_[i] = rounder_steps * coarse_step_[i];
    fine_rounder_[i] = rounder_steps * fine_step_[i];
  }
}

FixedPointRow FixedPointSums::row(std::int64_t num_terms) noexcept {
  if (num_in_words_ + num_terms > max_terms_in_words) empty_words();
  num_in_words_ += num_terms;
  return {kind_,
          coarse_rounder_.data(),
          fine_rounder_.data(),
          coarse_step_.data(),
          fine_step_.data(),
          coarse_.data(),
          fine_.data(),
          magnitude_.data()};
}

void FixedPointSums::add(std::span<const double> terms) noexcept {
  constexpr std::size_t least_for_vectors = 8;
  const FixedPointRow columns = row(1);
  const auto count = static_cast<std::int64_t>(terms.size());
  note(terms.size() < least_for_vectors ? add_terms_plainly(columns, terms.data(), count)
                                        : add_terms(columns, terms.data(), count));
}

bool FixedPointSums::is_too_large(std::size_t column, double term) const noexcept {
  const double rounder = coarse_rounder_[column];
  return is_outside(difference(term + rounder, rounder));
}

void FixedPointSums::add_equal(double term, std::int64_t num_terms) noexcept {
  const FixedPointRow columns = row(0);
  for (std::size_t i = 0; i < totals_.size(); ++i) {
    std::int64_t coarse = 0, fine = 0;
    note(add_term(columns, term, static_cast<std::int64_t>(i), coarse, fine));
    totals_[i] += (Wide{coarse} * (1 << fine_bits) + fine) * num_terms;
  }
}

std::span<const Wide> FixedPointSums::totals() noexcept {
  empty_words();
  return totals_;
}

void FixedPointSums::empty_words() noexcept {
  num_in_words_ = 0;
  for (std::size_t i = 0; i < totals_.size(); ++i) {
    totals_[i] += Wide{coarse_[i]} * (1 << fine_bits) + fine_[i];
    coarse_[i] = fine_[i] = 0;
  }
}

}  // namespace lockstep

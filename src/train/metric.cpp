#include "lockstep/train/metric.hpp"

#include <spdlog/fmt/fmt.h>

#include <cmath>

#include "lockstep/base/error.hpp"
#include "model/targets.hpp"

namespace lockstep {
namespace {

// Both metrics are a total over a count.
enum Sum : std::size_t { total, count, num_quotient_sums };

void check_sums(std::span<const double> sums) {
  if (sums.size() != num_quotient_sums)
    throw ArgumentError(
        fmt::format("expected {} sums, got {}", std::size_t{num_quotient_sums}, sums.size()));
}

double quotient_of(std::span<const double> sums) {
  check_sums(sums);
  return sums[count] == 0.0 ? 0.0 : sums[total] / sums[count];
}

// Comparisons with NaN are false, so a NaN anywhere makes the sample wrong.
template <class T>
bool is_first_maximum(std::span<const T> values, std::size_t position) {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!(i < position ? values[i] < values[position] : values[i] <= values[position]))
      return false;
  return true;
}

}  // namespace

Metric::~Metric() = default;

std::string SparseCategoricalAccuracy::name() const { return "sparse_categorical_accuracy"; }

int SparseCategoricalAccuracy::num_sums() const noexcept { return num_quotient_sums; }

void SparseCategoricalAccuracy::add(const TensorView& predictions, const TensorView& targets,
                                    std::span<double> sums) const {
  check_sums(sums);
  check_labels(predictions, targets);
  const auto labels = targets.values<std::int64_t>();
  const auto num_classes = static_cast<std::size_t>(predictions.shape()[1]);
  visit_floating(predictions.dtype(), [&]<class T>(TypeTag<T>) {
    const auto values = predictions.values<T>();
    for (std::size_t sample = 0; sample < labels.size(); ++sample)
      if (is_first_maximum(values.subspan(sample * num_classes, num_classes),
                           static_cast<std::size_t>(labels[sample])))
        sums[total] += 1.0;
  });
  sums[count] += static_cast<double>(labels.size());
}

double SparseCategoricalAccuracy::result(std::span<const double> sums) const noexcept {
  return quotient_of(sums);
}

std::string MeanAbsoluteError::name() const { return "mean_absolute_error"; }

int MeanAbsoluteError::num_sums() const noexcept { return num_quotient_sums; }

void MeanAbsoluteError::add(const TensorView& predictions, const TensorView& targets,
                            std::span<double> sums) const {
  check_sums(sums);
  check_values(predictions, targets);
  visit_floating(predictions.dtype(), [&]<class T>(TypeTag<T>) {
    visit_number(targets.dtype(), [&]<class Target>(TypeTag<Target>) {
      const auto predicted = predictions.values<T>();
      const auto wanted = targets.values<Target>();
      for (std::size_t i = 0; i < predicted.size(); ++i)
        sums[total] += std::abs(static_cast<double>(predicted[i]) - static_cast<double>(wanted[i]));
    });
  });
  sums[count] += static_cast<double>(predictions.num_elements());
}

double MeanAbsoluteError::result(std::span<const double> sums) const noexcept {
  return quotient_of(sums);
}

}  // namespace lockstep

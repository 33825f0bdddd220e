// What is reported besides the loss, as functions to sums that ranks can add up.

#pragma once

#include <span>
#include <string>

#include "lockstep/base/export.hpp"
#include "lockstep/base/tensor_view.hpp"

namespace lockstep {

/// A number about predictions [samples, ...] and their targets that follows from a few sums over
/// samples. It has no state: the sums belong to the caller, start at 0, and those of batches and
/// ranks are merged by adding them.
class LOCKSTEP_EXPORT Metric {
 public:
  virtual ~Metric();

  [[nodiscard]] virtual std::string name() const = 0;
  [[nodiscard]] virtual int num_sums() const noexcept = 0;

  /// Adds the samples of a batch to `sums`, which are num_sums() long. Throws ArgumentError when
  /// anything does not fit; the sums stay as they were then.
  virtual void add(const TensorView& predictions, const TensorView& targets,
                   std::span<double> sums) const = 0;

  /// The metric of all samples that were added; 0 when there are none.
  [[nodiscard]] virtual double result(std::span<const double> sums) const noexcept = 0;

 protected:
  Metric() = default;
  Metric(const Metric&) = default;
  Metric& operator=(const Metric&) = default;
};

/// The fraction of samples whose label has the largest prediction, the first one where several are
/// equal. A sample with a prediction that is NaN never counts as right. Predictions are floating
/// [samples, classes], targets int64 [samples].
class LOCKSTEP_EXPORT SparseCategoricalAccuracy final : public Metric {
 public:
  [[nodiscard]] std::string name() const override;
  [[nodiscard]] int num_sums() const noexcept override;
  void add(const TensorView& predictions, const TensorView& targets,
           std::span<double> sums) const override;
  [[nodiscard]] double result(std::span<const double> sums) const noexcept override;
};

/// The mean of |prediction - target| over the elements of all samples. Predictions are
/// floating, targets of the same shape and of any dtype.
class LOCKSTEP_EXPORT MeanAbsoluteError final : public Metric {
 public:
  [[nodiscard]] std::string name() const override;
  [[nodiscard]] int num_sums() const noexcept override;
  void add(const TensorView& predictions, const TensorView& targets,
           std::span<double> sums) const override;
  [[nodiscard]] double result(std::span<const double> sums) const noexcept override;
};

}  // namespace lockstep

// What training makes small: a number per sample and its gradient.

#pragma once

#include <string>

#include "lockstep/base/export.hpp"
#include "lockstep/base/tensor_view.hpp"

namespace lockstep {

/// A loss of predictions [samples, ...] against targets. Sums over samples are what ranks add up;
/// whoever merged them divides by the number of samples on all ranks.
class LOCKSTEP_EXPORT Loss {
 public:
  virtual ~Loss();

  [[nodiscard]] virtual std::string name() const = 0;

  /// Name and options in words; compared between ranks.
  [[nodiscard]] virtual std::string configuration() const = 0;

  /// The sum of the loss over the samples, 0 without samples. `gradient` receives, divided by
  /// nothing, the gradient of every sample's loss with respect to its predictions; it has their
  /// shape and dtype, a null view skips that part. Numbers that are not finite give a loss that is
  /// not finite. Throws ArgumentError when the views do not fit; nothing is written then.
  virtual double evaluate(const TensorView& predictions, const TensorView& targets,
                          const MutableTensorView& gradient) const = 0;

 protected:
  Loss() = default;
  Loss(const Loss&) = default;
  Loss& operator=(const Loss&) = default;
};

/// -log(softmax(predictions)[label]): predictions are logits [samples, classes], floating;
/// targets are labels [samples], int64 from 0 to classes - 1.
class LOCKSTEP_EXPORT SparseCategoricalCrossentropy final : public Loss {
 public:
  [[nodiscard]] std::string name() const override;
  [[nodiscard]] std::string configuration() const override;
  double evaluate(const TensorView& predictions, const TensorView& targets,
                  const MutableTensorView& gradient) const override;
};

/// The mean of (prediction - target)^2 over the elements of a sample: predictions are
/// floating, targets of the same shape and of any dtype.
class LOCKSTEP_EXPORT MeanSquaredError final : public Loss {
 public:
  [[nodiscard]] std::string name() const override;
  [[nodiscard]] std::string configuration() const override;
  double evaluate(const TensorView& predictions, const TensorView& targets,
                  const MutableTensorView& gradient) const override;
};

}  // namespace lockstep

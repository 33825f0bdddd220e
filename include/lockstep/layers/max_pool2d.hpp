// The largest value under a moving window.

#pragma once

#include <memory>

#include "lockstep/base/export.hpp"
#include "lockstep/layers/pool2d.hpp"

namespace lockstep {

/// output = the largest value under the window, NaN if there is one; what lies outside of the image
/// does not count. The gradient goes to the first largest value, row by row.
class LOCKSTEP_EXPORT MaxPool2D : public Pool2D {
 public:
  explicit MaxPool2D(Pool2DOptions options = {});

  [[nodiscard]] std::unique_ptr<Layer> clone() const override;
  [[nodiscard]] std::unique_ptr<Tape> make_tape() const override;

  /// Throws StateError before create or on another layer's tape, ArgumentError on views that do not
  /// fit; then `output` is as it was.
  void forward(const TensorView& input, const MutableTensorView& output, const Call& call) override;
  /// Throws StateError on a tape that recorded nothing, otherwise as forward().
  void backward(Tape& tape, const TensorView& output_gradient,
                const MutableTensorView& input_gradient,
                Gradients gradients = Gradients::overwrite) override;
};

}  // namespace lockstep

// The layer that drops random elements while training.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "lockstep/base/export.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep {

/// Options of dropout.
struct DropoutOptions {
  double rate = 0.5;                                 ///< part of the elements dropped, in [0, 1)
  std::optional<std::uint64_t> seed = std::nullopt;  ///< empty: that of each call
  std::optional<DType> dtype = std::nullopt;         ///< of inputs and outputs
  std::string name = {};
  std::optional<Shape> input_shape = std::nullopt;  ///< without the batch axis
};

/// In training mode every element becomes 0 with probability `rate` and is divided by 1 - rate
/// otherwise; in inference mode the input passes unchanged.
///
/// Which elements stay is a pure function of seed, layer name, step, global index of the sample
/// (Call::samples) and position within the sample: a global batch has the same result however it
/// is cut over ranks, and a repeated step repeats its masks, as do several calls of one layer
/// within one step. A training call without a step (-1) uses the number of such calls that this
/// layer has completed in place of the step, so that masks change from call to call and ranks that
/// make equally many calls, empty batches included, stay alike.
///
/// Srivastava et al.: Dropout, 2014.
class LOCKSTEP_EXPORT Dropout final : public Layer {
 public:
  explicit Dropout(DropoutOptions options = {});

  [[nodiscard]] const DropoutOptions& options() const noexcept { return options_; }

  [[nodiscard]] Shape output_shape(const Shape& input_shape) const override;
  [[nodiscard]] std::string configuration() const override;
  [[nodiscard]] std::unique_ptr<Layer> clone() const override;
  [[nodiscard]] std::unique_ptr<Tape> make_tape() const override;
  [[nodiscard]] bool works_in_place() const noexcept override { return true; }

  /// The output may be the memory of the input. Throws ArgumentError when call.samples is neither
  /// empty nor as long as the batch.
  void forward(const TensorView& input, const MutableTensorView& output, const Call& call) override;
  /// The gradients may be the same memory.
  void backward(Tape& tape, const TensorView& output_gradient,
                const MutableTensorView& input_gradient,
                Gradients gradients = Gradients::overwrite) override;

  void commit(Tape& tape) noexcept override;

 protected:
  /// Throws ArgumentError for a rate outside of [0, 1).
  void do_create(const Shape& input_shape) override;

 private:
  void count_call(const Call& call);

  DropoutOptions options_;
  std::int64_t num_calls_without_step_ = 0;
};

}  // namespace lockstep

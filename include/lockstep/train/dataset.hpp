// Samples that a model is trained on or measured with, read by index.

#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "lockstep/base/export.hpp"
#include "lockstep/base/tensor.hpp"

namespace lockstep {

/// A fixed number of samples, each with an input and a target. Every rank holds the same data set
/// and reads the samples of its own shards; reading changes nothing.
class LOCKSTEP_EXPORT Dataset {
 public:
  virtual ~Dataset();

  [[nodiscard]] virtual std::int64_t num_samples() const noexcept = 0;

  /// Shape of one sample's input.
  [[nodiscard]] virtual Shape input_shape() const = 0;
  /// Shape of one sample's target; {} for a label.
  [[nodiscard]] virtual Shape target_shape() const = 0;

  /// Floating; what to ask for where no model decides.
  [[nodiscard]] virtual DType input_dtype() const noexcept = 0;
  /// int64 for labels, otherwise floating.
  [[nodiscard]] virtual DType target_dtype() const noexcept = 0;

  /// Labels are in [0, num_classes); empty where targets are no labels.
  [[nodiscard]] virtual std::optional<std::int64_t> num_classes() const noexcept;

  /// Fills `inputs` of shape [indices, input_shape...] and `targets` of shape
  /// [indices, target_shape...] with the samples of these indices, in any order and repeated at
  /// will. Floating values can be had as any floating dtype, whatever they are kept in; labels as
  /// int64. Throws ArgumentError, before anything is written, on an index outside
  /// [0, num_samples()) or a view of another shape or dtype.
  void read(std::span<const std::int64_t> indices, const MutableTensorView& inputs,
            const MutableTensorView& targets) const;

 protected:
  /// read() with arguments that fit.
  virtual void do_read(std::span<const std::int64_t> indices, const MutableTensorView& inputs,
                       const MutableTensorView& targets) const = 0;
};

/// A data set that is held in memory.
class LOCKSTEP_EXPORT ArrayDataset final : public Dataset {
 public:
  /// `inputs` of shape [num_samples, ...], floating; `targets` of shape [num_samples, ...], int64
  /// labels or floating. Without `num_classes` the largest label decides. Throws ArgumentError when
  /// the numbers of samples differ or a label is outside [0, num_classes).
  ArrayDataset(Tensor inputs, Tensor targets,
               std::optional<std::int64_t> num_classes = std::nullopt);

  [[nodiscard]] std::int64_t num_samples() const noexcept override { return inputs_.shape()[0]; }
  [[nodiscard]] Shape input_shape() const override { return inputs_.shape().without_first(); }
  [[nodiscard]] Shape target_shape() const override { return targets_.shape().without_first(); }
  [[nodiscard]] DType input_dtype() const noexcept override { return inputs_.dtype(); }
  [[nodiscard]] DType target_dtype() const noexcept override { return targets_.dtype(); }
  [[nodiscard]] std::optional<std::int64_t> num_classes() const noexcept override {
    return num_classes_;
  }

  /// All samples, [num_samples, ...].
  [[nodiscard]] const Tensor& inputs() const noexcept { return inputs_; }
  [[nodiscard]] const Tensor& targets() const noexcept { return targets_; }

 private:
  void do_read(std::span<const std::int64_t> indices, const MutableTensorView& inputs,
               const MutableTensorView& targets) const override;

  Tensor inputs_;
  Tensor targets_;
  std::optional<std::int64_t> num_classes_;
};

}  // namespace lockstep

// Classification tasks that are computed instead of stored, for benchmarks, tests and first steps.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "lockstep/base/export.hpp"
#include "lockstep/train/dataset.hpp"

namespace lockstep {

/// Which samples of a task. The classes of all splits are the same, no sample is in two.
enum class Split : std::uint8_t { training, validation };

struct SyntheticBlobsOptions {
  std::int64_t num_samples = 1024;
  std::int64_t num_classes = 10;
  std::int64_t num_features = 16;
  double spread = 0.5;  ///< standard deviation of a class; its centre's features have 1
  std::uint64_t seed = 0;
  Split split = Split::training;
};

/// Normally distributed points, [num_features], about one centre per class.
///
/// A sample is a function of task, seed, split and index alone: any rank can produce any of them.
/// Every num_classes consecutive samples hold each class once, in an order of their own.
class LOCKSTEP_EXPORT SyntheticBlobs final : public Dataset {
 public:
  /// Throws ArgumentError unless counts are positive (num_samples may be 0) and spread is finite
  /// and not negative.
  explicit SyntheticBlobs(const SyntheticBlobsOptions& options = {});

  [[nodiscard]] std::int64_t num_samples() const noexcept override { return options_.num_samples; }
  [[nodiscard]] Shape input_shape() const override { return {options_.num_features}; }
  [[nodiscard]] Shape target_shape() const override { return {}; }
  [[nodiscard]] DType input_dtype() const noexcept override { return DType::float32; }
  [[nodiscard]] DType target_dtype() const noexcept override { return DType::int64; }
  [[nodiscard]] std::optional<std::int64_t> num_classes() const noexcept override {
    return options_.num_classes;
  }

 private:
  void do_read(std::span<const std::int64_t> indices, const MutableTensorView& inputs,
               const MutableTensorView& targets) const override;

  SyntheticBlobsOptions options_;
  std::vector<double> centres_;  // [num_classes, num_features]
};

struct SyntheticImagesOptions {
  std::int64_t num_samples = 2048;
  std::int64_t num_classes = 10;
  Shape shape{16, 16, 1};  ///< height, width, channels
  double noise = 0.5;      ///< standard deviation of what is added to every value
  std::uint64_t seed = 0;
  Split split = Split::training;
};

/// Images with a patch of waves on noise, [height, width, channels]. Classes differ by the waves'
/// direction and length and by the patch's place; the phase of the waves is random, so that no
/// single pixel tells the class. Order and reproducibility as for SyntheticBlobs.
class LOCKSTEP_EXPORT SyntheticImages final : public Dataset {
 public:
  /// Throws ArgumentError unless counts and the three extents are positive (num_samples may be 0)
  /// and noise is finite and not negative.
  explicit SyntheticImages(const SyntheticImagesOptions& options = {});

  [[nodiscard]] std::int64_t num_samples() const noexcept override { return options_.num_samples; }
  [[nodiscard]] Shape input_shape() const override { return options_.shape; }
  [[nodiscard]] Shape target_shape() const override { return {}; }
  [[nodiscard]] DType input_dtype() const noexcept override { return DType::float32; }
  [[nodiscard]] DType target_dtype() const noexcept override { return DType::int64; }
  [[nodiscard]] std::optional<std::int64_t> num_classes() const noexcept override {
    return options_.num_classes;
  }

 private:
  void do_read(std::span<const std::int64_t> indices, const MutableTensorView& inputs,
               const MutableTensorView& targets) const override;

  SyntheticImagesOptions options_;
};

}  // namespace lockstep

// A layer that is measured, with what its calls need.

#pragma once

#include <cstdint>
#include <optional>

#include "bench/buffers.hpp"
#include "bench/reference.hpp"
#include "lockstep/layers/batch_normalization.hpp"

struct SubjectOptions {
  bool is_synchronized = false;
  bool has_relu = false;
  bool has_residual = false;
  lockstep::Statistics statistics = lockstep::Statistics::exact;
  std::optional<std::int64_t> channel_group_bytes = std::nullopt;
};

/// Batch normalization of the workload's x to y and of dy to dx; of the residual as well if it has
/// one, whose gradient goes to y.
class Subject {
 public:
  /// Collective; also the calls of one that is synchronized are. `buffers` must outlive it.
  Subject(const Workload& workload, const SubjectOptions& options, Buffers& buffers,
          const lockstep::Communicator& world);

  void forward();
  void backward();
  void infer();

  /// Numbers of wrong elements over all ranks, in y and the moving statistics, in the gradients,
  /// and in y of inference.
  struct Wrong {
    std::int64_t forward = 0;
    std::int64_t backward = 0;
    std::int64_t inference = 0;
  };
  /// Makes the first calls and compares what they give with the reference. Collective.
  [[nodiscard]] Wrong check(const lockstep::Communicator& world);

 private:
  Problem problem_;
  Buffers* buffers_;
  lockstep::BatchNormalization layer_;
  lockstep::BatchNormalizationTape tape_;
  lockstep::TensorView residual_;
  lockstep::MutableTensorView residual_gradient_;
};

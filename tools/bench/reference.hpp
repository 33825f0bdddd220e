// What batch normalization has to give, computed plainly in double and without the library's
// kernels.

#pragma once

#include <cstdint>
#include <vector>

#include "bench/buffers.hpp"
#include "bench/workload.hpp"
#include "lockstep/base/tensor_view.hpp"
#include "lockstep/comm/communicator.hpp"

/// What is normalized, and how. The ranks of `group` share their statistics.
struct Problem {
  Workload workload;
  const Buffers* buffers = nullptr;
  const lockstep::Communicator* group = nullptr;
  double epsilon = 1e-3;
  double momentum = 0.99;
  bool has_relu = false;
  bool has_residual = false;
};

/// gamma and beta of every channel, the same on all ranks.
[[nodiscard]] double gamma_of(std::int64_t channel) noexcept;
[[nodiscard]] double beta_of(std::int64_t channel) noexcept;

/// y = relu(gamma (x - mean) / sqrt(variance + epsilon) + beta + residual), the mean and the biased
/// variance taken in two passes over the group.
///
/// An element of y or dx is wrong when it is off by more than tolerance * (1 + |expected|), where
/// the tolerance is 1e-5 for float32, 1e-12 for float64, 2^-8 for bfloat16 and 2^-11 for float16;
/// one of the moving statistics by more than 1e-6 (float64: 1e-12) likewise; one of dgamma and
/// dbeta by more than that times 1 plus the sum of the magnitudes of its terms. Where relu's
/// argument is nearer to 0 than rounding can tell, both branches count as right.
class Reference {
 public:
  /// Computes the statistics. Collective in the group.
  explicit Reference(const Problem& problem);

  /// Numbers of wrong elements on this rank. Local.
  [[nodiscard]] std::int64_t num_wrong_outputs() const;
  [[nodiscard]] std::int64_t num_wrong_moving(const lockstep::TensorView& moving_mean,
                                              const lockstep::TensorView& moving_variance) const;
  /// Of y in inference mode with these moving statistics.
  [[nodiscard]] std::int64_t num_wrong_inference(const lockstep::TensorView& moving_mean,
                                                 const lockstep::TensorView& moving_variance) const;
  /// Of dx, dgamma, dbeta and, in place of y, the residual's gradient. Collective in the group.
  [[nodiscard]] std::int64_t num_wrong_gradients(const lockstep::TensorView& gamma_gradient,
                                                 const lockstep::TensorView& beta_gradient) const;

 private:
  struct GradientSums;

  [[nodiscard]] double normalized(std::int64_t index, std::size_t channel) const;
  [[nodiscard]] double before_activation(std::int64_t index, std::size_t channel) const;
  [[nodiscard]] bool is_near_kink(double before_activation) const;
  [[nodiscard]] double gradient_behind(std::int64_t index, double before_activation) const;
  [[nodiscard]] GradientSums gradient_sums() const;

  Problem problem_;
  double output_tolerance_;
  double sum_tolerance_;
  double kink_tolerance_;
  double count_ = 0.0;  // elements of a channel in the group
  std::vector<double> mean_, variance_, inverse_stddev_;
};

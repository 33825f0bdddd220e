// The last message of a training step: what the ranks add up before parameters change.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "comm/exchange.hpp"
#include "lockstep/params/variable.hpp"

namespace lockstep {

/// Sums the gradients of all parameters over the ranks, together with a few sums about the batch,
/// in one MPI_Allreduce of doubles.
class GradientExchange {
 public:
  /// `variables` must outlive this; the parameters among them travel. Collective.
  GradientExchange(const Communicator& group, std::span<Variable* const> variables,
                   std::size_t num_sums);

  [[nodiscard]] Exchange& exchange() noexcept { return exchange_; }

  /// Sums of this rank's batch, and of all after merge().
  [[nodiscard]] std::span<double> sums() noexcept { return exchange_.payload().first(num_sums_); }

  /// Adds up the sums and, for trainable parameters whose gradient is local, the gradients.
  /// Gradients in the variables stay as they were. Collective.
  void merge(std::int64_t step);

  /// After merge(): whether every trainable parameter's gradient of all ranks is finite. The same
  /// on all ranks.
  [[nodiscard]] bool is_finite() const noexcept { return is_finite_; }

  /// After merge(): every trainable parameter's gradient becomes the global one divided by
  /// `divisor`.
  void finish(double divisor) noexcept;

 private:
  template <class Visit>
  void for_each_parameter(Visit&& visit) noexcept;
  // Number of ranks whose own gradients are not finite.
  [[nodiscard]] double& num_nonfinite() noexcept { return exchange_.payload()[num_sums_]; }

  Exchange exchange_;
  std::vector<Variable*> parameters_;
  std::size_t num_sums_;
  bool is_finite_ = true;  // all gradients of this rank; after merge() those of all
};

}  // namespace lockstep

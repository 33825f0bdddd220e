// Sums of what several layers contribute to the gradients of variables that they share.

#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "lockstep/layers/layer.hpp"

namespace lockstep {

/// Goes along with one backward pass. A layer writes its own part where the gradient is; sums are
/// in double, apart for parts that sum the samples of this rank and of all ranks.
class SharedGradients {
 public:
  SharedGradients() = default;
  /// Of layers that are passed one after another and have variables.
  explicit SharedGradients(std::span<Layer* const> layers);

  /// Before the first layer: sums begin with what is there, or with nothing.
  void begin(Gradients gradients) noexcept;
  /// Before and after the backward pass of one layer.
  void begin_layer(const Layer& layer) noexcept;
  void finish_layer(const Layer& layer) noexcept;
  /// After the last layer: gradients are the sums. Where parts of both kinds meet, the sum over all
  /// ranks counts on one rank only, and the gradient is yet to be summed over the ranks.
  void finish(bool is_first_rank) noexcept;

 private:
  struct Sum {
    Variable* variable;
    std::vector<const Layer*> layers;  // that share it
    std::vector<double> local, global, part;
    bool has_local = false;
    bool has_global = false;
  };

  static void add_part(Sum& sum) noexcept;

  std::vector<Sum> sums_;
};

}  // namespace lockstep

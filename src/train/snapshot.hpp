// What an optimizer changes, kept to be put back.

#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "lockstep/base/tensor.hpp"
#include "lockstep/params/variable.hpp"
#include "lockstep/train/optimizer.hpp"

namespace lockstep {

/// A copy of the parameters among some variables and of an optimizer's state.
class Snapshot {
 public:
  /// Takes a first copy. Variables and optimizer must outlive this.
  Snapshot(std::span<Variable* const> variables, Optimizer& optimizer);

  /// Copies everything as it is now. Allocates only what has grown.
  void take();
  /// Makes everything what it was at the last take().
  void put_back() noexcept;

 private:
  template <class Visit>
  void for_each(Visit&& visit);

  std::vector<Variable*> parameters_;
  std::vector<Tensor*> state_;
  std::vector<Tensor> copies_;  // of both, in this order
};

}  // namespace lockstep

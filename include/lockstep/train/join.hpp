// Loops of one's own whose ranks have different numbers of batches.

#pragma once

#include "lockstep/base/export.hpp"
#include "lockstep/train/trainer.hpp"

namespace lockstep {

/// Around a loop over Trainer::step() in which each rank has as many batches as it has:
///
///     {
///       ls::Join join(trainer);
///       for (const auto& batch : batches_of_this_rank) trainer.step(batch.inputs, batch.targets);
///     }
///
/// A rank that is done answers the others with empty batches until all are; normalization,
/// gradients and metrics are exact meanwhile. Every rank has one.
class LOCKSTEP_EXPORT Join {
 public:
  explicit Join(Trainer& trainer) noexcept;
  /// finish(). While an exception leaves the scope, which the other ranks do not throw too, it is
  /// told to them instead: they throw StateError naming this rank. Collective.
  ~Join() noexcept(false);

  Join(const Join&) = delete;
  Join& operator=(const Join&) = delete;

  /// Trainer::join(), once. Collective.
  void finish();

 private:
  Trainer& trainer_;
  int exceptions_in_flight_;
  bool is_finished_ = false;
};

}  // namespace lockstep

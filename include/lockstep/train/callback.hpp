// What may happen between the steps of a training run.

#pragma once

#include "lockstep/base/export.hpp"
#include "lockstep/train/history.hpp"

namespace lockstep {

class Trainer;

/// Called on every rank with the same records. One that throws on any rank ends fit() with the same
/// error on all ranks; the model stays that of the last step. To end a run early call
/// Trainer::request_stop(). on_epoch_end() may call Trainer::evaluate() and predict(),
/// population_statistics() and replace_moving_statistics(), if it does so on all ranks; other
/// collective calls would leave ranks waiting when one of them throws.
class LOCKSTEP_EXPORT Callback {
 public:
  virtual ~Callback();

  virtual void on_step_end(Trainer& trainer, const StepRecord& record);
  virtual void on_epoch_end(Trainer& trainer, const EpochRecord& record);

 protected:
  Callback() = default;
  Callback(const Callback&) = default;
  Callback& operator=(const Callback&) = default;
};

}  // namespace lockstep

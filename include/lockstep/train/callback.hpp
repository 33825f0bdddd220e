// What may happen between the steps of a training run.

#pragma once

#include <cstdint>

#include "lockstep/base/export.hpp"
#include "lockstep/train/history.hpp"

namespace lockstep {

class Trainer;

/// Called on every rank with the same records. One that throws on any rank ends fit() with the same
/// error on all ranks; the model stays that of the last step. To end a run early call
/// Trainer::request_stop(). on_epoch_end() and on_fit_end() may call Trainer::evaluate(), predict()
/// and state(), population_statistics() and replace_moving_statistics(), if they do so on all
/// ranks; other collective calls would leave ranks waiting when one of them throws.
class LOCKSTEP_EXPORT Callback {
 public:
  virtual ~Callback();

  virtual void on_step_end(Trainer& trainer, const StepRecord& record);
  virtual void on_epoch_end(Trainer& trainer, const EpochRecord& record);
  /// After the last epoch, or the stop, of a run that did not fail.
  virtual void on_fit_end(Trainer& trainer, const History& history);

  /// After every so many steps on_step_end() may call on all ranks what on_epoch_end() may; 0, as
  /// by default: never. Callbacks ask on all ranks for the same. Each of these steps costs a
  /// message.
  [[nodiscard]] virtual std::int64_t meeting_interval() const noexcept { return 0; }

 protected:
  Callback() = default;
  Callback(const Callback&) = default;
  Callback& operator=(const Callback&) = default;
};

}  // namespace lockstep

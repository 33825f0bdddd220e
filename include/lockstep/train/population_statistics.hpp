// Exact statistics of a whole data set, in place of moving averages.

#pragma once

#include <cstdint>

#include "lockstep/base/export.hpp"
#include "lockstep/layers/population.hpp"
#include "lockstep/model/replace_moving_statistics.hpp"
#include "lockstep/model/sequential.hpp"
#include "lockstep/train/callback.hpp"
#include "lockstep/train/dataset.hpp"

namespace lockstep {

struct PopulationOptions {
  std::int64_t batch_size = 256;  ///< of the global batch, over all ranks
  bool drop_remainder = false;    ///< leave out a last batch that is smaller than the others
};

/// Count, mean and biased variance of all that each batch normalization layer sees of a data set,
/// in one pass over it that changes nothing in the model; see PopulationRecorder. All samples weigh
/// the same, however they are cut into batches and over ranks. A layer with no other batch
/// normalization before it sees the same for any batch size and number of ranks, so that its
/// statistics are those of the data set up to rounding; what later layers see depends on the batch
/// statistics before them, the less the larger the batches are.
///
/// The ranks that a layer is synchronized over send what they send in a training step's forward
/// pass; layers that are not synchronized over all of them are merged at the end. Every rank gets
/// the same bits. The model forgets what forward() recorded for backward(). Throws StateError
/// before build(). When a rank fails or asks for something else all throw the same error:
/// MismatchError, ArgumentError for options and a virtual_batch_size that does not divide a batch,
/// and what any rank threw. Collective.
[[nodiscard]] LOCKSTEP_EXPORT PopulationStatistics population_statistics(
    Sequential& model, const Dataset& data, const PopulationOptions& options = {});

/// Replaces the moving statistics by those of a data set at the end of every epoch, before the
/// callbacks that follow it in FitOptions; the validation of that epoch was before.
class LOCKSTEP_EXPORT PreciseStatistics final : public Callback {
 public:
  /// `data` must outlive the callback.
  explicit PreciseStatistics(const Dataset& data, PopulationOptions options = {});

  void on_epoch_end(Trainer& trainer, const EpochRecord& record) override;

 private:
  const Dataset& data_;
  PopulationOptions options_;
};

}  // namespace lockstep

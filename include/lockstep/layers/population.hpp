// What batch normalization layers see of a population of samples, for exact statistics.

#pragma once

#include <string>
#include <vector>

#include "lockstep/base/export.hpp"
#include "lockstep/comm/communicator.hpp"
#include "lockstep/layers/batch_normalization.hpp"

namespace lockstep {

class Variable;

/// Moments of all that one layer saw; layers that share their moving statistics are one.
struct LayerPopulation {
  std::string layer;             ///< Layer::variable_scope()
  std::vector<double> count;     ///< number of elements, [channels]
  std::vector<double> mean;      ///< [channels]
  std::vector<double> variance;  ///< biased, [channels]

  friend bool operator==(const LayerPopulation&, const LayerPopulation&) = default;
};

/// Those of the layers of a model, in their order.
using PopulationStatistics = std::vector<LayerPopulation>;

/// Collects the moments of the batches of training calls that name it as Call::population. Such a
/// call changes no variable and no random number. It normalizes by batch statistics alone, without
/// what only perturbs or corrects them while training: dropout, the adjustment of batch
/// normalization, r and d of renorm. So what a layer sees comes near to what it will see in
/// inference, when the layers before it normalize by these statistics.
///
/// Layers that a training step would let learn moving statistics are measured. Others take part as
/// in training: those that are frozen, and those that keep none. Elements that are not finite are
/// dealt with as in training; under Nonfinite::skip_update the batch does not count in their
/// channel.
///
/// The batches of a call are pooled without cancellation. Layers must outlive the recorder.
class LOCKSTEP_EXPORT PopulationRecorder {
 public:
  PopulationRecorder();
  ~PopulationRecorder();
  PopulationRecorder(PopulationRecorder&&) noexcept;
  PopulationRecorder& operator=(PopulationRecorder&&) noexcept;

  /// Moments of all calls of all ranks so far, the same bits on all ranks. What the groups of ranks
  /// that share batch statistics saw apart is merged by count; ghost batches are taken apart. When
  /// the ranks have measured different layers, or one fails, all throw the same error. One
  /// MPI_Allreduce, and two for each layer whose calls were not merged over all ranks. Collective.
  [[nodiscard]] PopulationStatistics statistics(const Communicator& replicas) const;

 private:
  friend class BatchNormalization;
  struct Entry;

  void add(const BatchNormalization& layer, const Variable& moving_mean,
           const BatchNormalizationTape::Record& record);

  std::vector<Entry> entries_;
};

}  // namespace lockstep

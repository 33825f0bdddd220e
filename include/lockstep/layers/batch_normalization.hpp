// Batch normalization, synchronized over ranks or not.

#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "lockstep/base/export.hpp"
#include "lockstep/layers/batch_normalization_options.hpp"
#include "lockstep/layers/external_statistics.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep {

struct ChannelAffine;
struct Failure;
struct FinalActivation;
struct LayerPopulation;
struct MovingVariables;

/// What backward needs of a forward call in training mode, and what that call learned.
class LOCKSTEP_EXPORT BatchNormalizationTape final : public Tape {
 public:
  BatchNormalizationTape();
  ~BatchNormalizationTape() override;
  BatchNormalizationTape(BatchNormalizationTape&&) noexcept;
  BatchNormalizationTape& operator=(BatchNormalizationTape&&) noexcept;

  /// Mean and biased variance that normalized the last training call, [channels]; empty before.
  [[nodiscard]] std::span<const double> batch_mean() const noexcept;
  [[nodiscard]] std::span<const double> batch_variance() const noexcept;

  /// Number of elements that they describe, or their total weight, over all ranks, [channels]; with
  /// ghost batches, the number of those that they are averages of.
  [[nodiscard]] std::span<const double> batch_count() const noexcept;

  struct Record;

 private:
  friend class BatchNormalization;
  [[nodiscard]] bool describes_batch() const noexcept;

  std::unique_ptr<Record> record_;
};

/// y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, per channel.
///
/// In training mode mean and variance are those of the batch, over all axes but the channel axis
/// and, when synchronized, over the batches of all ranks: exactly as if one process had them all,
/// however uneven or empty they are. One MPI_Allreduce each in forward and backward, or one
/// MPI_Iallreduce per group of channels where those go through the cache one after another; up to
/// three in a forward whose mean jumped by more than 2^10 standard deviations, and with
/// Statistics::exact in a pass of which some channel's numbers became thousands of times larger or
/// smaller than in the call before (in dense layers of 16 or 32 bits: 10 times smaller). In
/// inference mode the moving statistics normalize and nothing is communicated.
///
/// Ioffe and Szegedy: Batch Normalization, 2015.
class LOCKSTEP_EXPORT BatchNormalization : public Layer {
 public:
  explicit BatchNormalization(BatchNormalizationOptions options = {});
  ~BatchNormalization() override;
  BatchNormalization(BatchNormalization&&) noexcept;
  BatchNormalization& operator=(BatchNormalization&&) noexcept;

  [[nodiscard]] const BatchNormalizationOptions& options() const noexcept { return options_; }

  /// Variables, [channels]. Throw ArgumentError for those that options turn off, and before build.
  [[nodiscard]] Variable& gamma() { return variable("gamma"); }
  [[nodiscard]] Variable& beta() { return variable("beta"); }
  [[nodiscard]] Variable& moving_mean() { return variable("moving_mean"); }
  [[nodiscard]] Variable& moving_variance() { return variable("moving_variance"); }

  /// Normalizes `input` into `output`, which has its shape and dtype and may have its memory unless
  /// backward follows. In training mode `call.tape` receives what backward needs. Every rank of the
  /// group must call it, also with an empty batch. When any rank fails, all throw the same error
  /// and no state has changed: ArgumentError for views that do not fit, NonFiniteError for NaN,
  /// infinity or an overflowing variance under Nonfinite::error. Collective in training mode when
  /// synchronized.
  void forward(const TensorView& input, const MutableTensorView& output, const Call& call) override;

  /// dx, and the gradients of gamma and beta. After a synchronized training call those are global:
  /// summed over all ranks already. `input_gradient` may be the memory of `output_gradient`; after
  /// an error it may be written in part.
  /// Collective as the recorded forward was.
  void backward(Tape& tape, const TensorView& output_gradient,
                const MutableTensorView& input_gradient,
                Gradients gradients = Gradients::overwrite) override;

  /// The same, and the gradient of the recorded call's residual unless that view is null.
  void backward(Tape& tape, const TensorView& output_gradient,
                const MutableTensorView& input_gradient, const MutableTensorView& residual_gradient,
                Gradients gradients = Gradients::overwrite);

  /// Changes the momentum of later updates. Throws MismatchError when the ranks do not say the
  /// same, ArgumentError for values that the options do not allow, once the layer is built.
  /// Collective once the layer is built.
  void set_momentum(std::optional<double> momentum);

  /// Makes the layer one that shares its batch statistics, or ends that. Variables keep their
  /// values, but those of statistics become in each group that forms what they are on its first
  /// rank, as in build(); merge_statistics() before makes those what all ranks have learned. Calls
  /// recorded so far are of no use any more. With an error nothing has changed: ArgumentError for
  /// options that cannot be synchronized, MismatchError when the ranks do not say the same,
  /// StateError for deferred updates that were not made. Before the layer has variables its options
  /// are not judged. Collective once the layer is built.
  void set_synchronized(bool is_synchronized);

  /// The same in two steps, for containers that change several layers at once: the first finds what
  /// is wrong, changes nothing and gives the group that the second needs. Both are collective once
  /// the layer is built.
  [[nodiscard]] Communicator prepare_synchronized(bool is_synchronized) const;
  void finish_synchronized(bool is_synchronized, const Communicator& group);

  /// The ranks that share this layer's batch statistics; this rank alone unless synchronized.
  [[nodiscard]] const Communicator& statistics_group() const;

  void commit(Tape& tape) noexcept override;

  /// Pools the moving statistics of the groups that the replicas consist of, as if one group had
  /// seen all elements: every group counts by the number of elements in its statistics, and what
  /// their means differ by adds to the variance. Ranks that normalize alone are groups of one.
  /// Afterwards the moving statistics are equal on all ranks; each group goes on from them, and
  /// later merges count no element twice. Nothing to do where one group holds all replicas, and
  /// for channels that none has seen. When one rank fails or the merged statistics overflow, all
  /// throw the same error and nothing has changed; StateError for deferred updates that were not
  /// made. Three MPI_Allreduce. Collective.
  void merge_statistics() override;

  /// Takes over what a layer of another system has learned, and its momentum: gamma, beta and the
  /// moving statistics become its tensors, the variance converted where the systems average
  /// different ones. The number of updates becomes its, or 0 where it counts none. Throws, with
  /// nothing changed, ArgumentError naming everything that does not fit: tensors that are missing,
  /// superfluous or of another shape or dtype, not finite, negative variances, what the system does
  /// not have; StateError before the layer has variables and for deferred updates that were not
  /// made. Once the layer is built all ranks throw the same,
  /// and MismatchError when they import different values. Collective once the layer is built.
  void import_statistics(const ExternalStatistics& external);

  /// The way back: `form`, such as pytorch_statistics(), with the layer's momentum and variables in
  /// its convention. Errors as above. Local; merge_statistics() before where groups of ranks have
  /// learned apart.
  [[nodiscard]] ExternalStatistics export_statistics(ExternalStatistics form);

  /// Makes the moments of a population the moving statistics: the variance as the options want it
  /// stored, those of renorm too. Channels of which the population has nothing keep theirs. Further
  /// updates go on from there, as if the updates so far, or one if there was none, had led to it.
  /// All ranks give the same. When one fails or differs all throw the same error and nothing has
  /// changed: ArgumentError for another number of channels, impossible moments, or a layer without
  /// moving statistics; NonFiniteError for moments that the variables cannot hold, unless the
  /// options say Nonfinite::warn; StateError for deferred updates that were not made. Collective.
  void replace_moving_statistics(const LayerPopulation& population);

  /// Takes part in the forward or backward that is due with an error instead of a batch: for a
  /// rank of a user's own loop that cannot make the call. All ranks throw that error, those in
  /// forward or backward likewise; this rank alone when the layer is frozen and merges nothing.
  /// Collective.
  [[noreturn]] void fail(Pass pass, std::exception_ptr reason);

  [[nodiscard]] Shape output_shape(const Shape& input_shape) const override;
  [[nodiscard]] std::string configuration() const override;
  [[nodiscard]] std::unique_ptr<Layer> clone() const override;
  [[nodiscard]] std::unique_ptr<Tape> make_tape() const override;
  /// Not so for classes made of this one, which may do more with their input.
  [[nodiscard]] bool works_in_place() const noexcept override;
  void add_appointments(Pass pass, Schedule& schedule) override;

 protected:
  void do_create(const Shape& input_shape) override;
  void do_connect(const Communicator& replicas) override;
  [[nodiscard]] bool accepts(const Shape& input_shape) const override;

 private:
  friend class PooledStatistics;
  friend class Residual;
  friend class StatisticsReplacement;
  friend ChannelAffine inference_affine_of(const BatchNormalization& layer);
  struct Parts;
  using Record = BatchNormalizationTape::Record;

  [[nodiscard]] bool merges(Mode mode) const noexcept;
  [[nodiscard]] bool uses_batch_statistics(Mode mode) const noexcept;
  void require_built() const;
  void require_updates_made() const;
  [[nodiscard]] bool learns_apart() const noexcept;
  void pool_statistics(std::optional<Failure> failure);
  [[nodiscard]] MovingVariables create_moving(const Shape& shape);
  void create_grids(Parts& parts);
  [[nodiscard]] bool averages_unbiased(MovingVariance kind, FusedRules rules) const;
  [[nodiscard]] Communicator group_among(const Communicator& replicas, bool is_synchronized,
                                         const char* phase) const;
  void connect(const Communicator& group, const Communicator& replicas);
  [[nodiscard]] Record& prepare(const TensorView& input, const MutableTensorView& output,
                                const Call& call);
  void check_residual(const TensorView& residual, const TensorView& input) const;
  void adjust(Record& record) const;
  [[nodiscard]] Record& normalize_by_batch(const TensorView& input, const MutableTensorView& output,
                                           const Call& call);
  void measure(Record& record, PopulationRecorder& population) const;
  [[nodiscard]] Record& normalize_by_moving(const TensorView& input,
                                            const MutableTensorView& output, const Call& call);
  void check_backward(Record* record, const TensorView& output_gradient,
                      const MutableTensorView& input_gradient,
                      const MutableTensorView& residual_gradient) const;
  [[nodiscard]] Record* recorded(Tape& tape) const noexcept;
  /// For a block around the layer, once it is created: what is applied last instead of the option.
  void end_with(const FinalActivation& activation);

  BatchNormalizationOptions options_;
  std::unique_ptr<Parts> parts_;
};

/// BatchNormalization with synchronized = true.
[[nodiscard]] LOCKSTEP_EXPORT BatchNormalization
SyncBatchNormalization(BatchNormalizationOptions options = {});

}  // namespace lockstep

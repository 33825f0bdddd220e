// Trains a model on all ranks of its strategy.

#pragma once

#include <concepts>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "lockstep/base/export.hpp"
#include "lockstep/base/tensor.hpp"
#include "lockstep/layers/batch_normalization_options.hpp"
#include "lockstep/model/loss.hpp"
#include "lockstep/model/sequential.hpp"
#include "lockstep/train/callback.hpp"
#include "lockstep/train/dataset.hpp"
#include "lockstep/train/history.hpp"
#include "lockstep/train/loss_scaling.hpp"
#include "lockstep/train/metric.hpp"
#include "lockstep/train/optimizer.hpp"
#include "lockstep/train/training_state.hpp"

namespace lockstep {

/// What every gradient is an average over.
enum class Averaging : std::uint8_t {
  samples,  ///< all samples of the global batch weigh the same, however it is cut
  ranks,    ///< the mean of the ranks' own means, as PyTorch's DistributedDataParallel does it
};

struct TrainerOptions {
  std::vector<std::shared_ptr<const Metric>> metrics = {};
  Averaging averaging = Averaging::samples;
  std::uint64_t seed = 0;  ///< of random numbers within steps, such as those of dropout
  /// What a step does whose loss or gradients are NaN or infinite on any rank. `error`: all ranks
  /// throw NonFiniteError naming rank, layer, tensor and step. `skip_update`: the step changes
  /// nothing on any rank, and counts. `warn`: it goes on. With the last two the rank that has such
  /// numbers says so on standard error. Gradients that overflow under loss scaling are no such
  /// matter. Inputs of batch normalization are a matter of that layer's own policy.
  Nonfinite nonfinite = Nonfinite::error;
  /// Empty: the default one for models of float16, none for others. A growth_factor of 1 keeps a
  /// scale that does not overflow.
  std::optional<LossScaling> loss_scaling = std::nullopt;
};

/// Whose the data of a run are.
enum class Sharding : std::uint8_t {
  /// All ranks have the same data set, and every global batch is cut over them.
  global_batches,
  /// Every rank has a data set of its own, of any length, and batches of its own; a global batch is
  /// what the ranks' batches are together. Ranks with fewer of them go on without samples until the
  /// epoch of the others ends too.
  own_data,
};

struct FitOptions {
  std::int64_t epochs = 1;  ///< what is left of one that an earlier run began counts as one
  /// Of the global batch, over all ranks; with Sharding::own_data of this rank's, and may differ.
  std::int64_t batch_size = 32;
  Sharding sharding = Sharding::global_batches;
  std::optional<std::int64_t> max_steps = std::nullopt;  ///< of this call of fit
  bool shuffle = true;
  bool drop_remainder = false;  ///< leave out a last batch that is smaller than the others
  std::uint64_t seed = 0;       ///< of the sample order
  /// After every so many steps ranks compare what they share; 0: never. See check_replicas().
  std::int64_t drift_check = 0;
  const Dataset* validation = nullptr;
  /// Asked on every rank in each step, before its last message, and at the end of each epoch. Where
  /// it says true on any rank, fit() ends on all of them after that step. See StopSignals.
  std::function<bool()> stop_when = {};
  std::vector<std::shared_ptr<Callback>> callbacks = {};
};

/// Runs training steps: forward, loss, backward, one message with the gradients, update. When any
/// rank fails in a step all ranks throw the same error, and model and optimizer are those of the
/// step before.
///
/// Models of 16 bits keep float32 parameters, which is where gradients are merged and updates are
/// made; loss and metrics are computed from their outputs in float32. NonFiniteError says that
/// gradients were infinite or NaN even at the smallest scale of the loss, whatever the policy.
///
/// What regularizers add to the loss and to the averaged gradients is added once, whatever the
/// number of ranks and samples; constraints follow the optimizer's update. Frozen parameters keep
/// their penalty in the loss, without a gradient and a projection. With a RegularizerFunction or a
/// ConstraintFunction, which may throw, a step makes one more message: only when no rank failed
/// does its update stay.
class LOCKSTEP_EXPORT Trainer {
 public:
  /// `model` must outlive the trainer. Local; the first step or fit is collective.
  Trainer(Sequential& model, std::unique_ptr<Optimizer> optimizer, std::unique_ptr<const Loss> loss,
          TrainerOptions options = {});
  template <std::derived_from<Optimizer> O, std::derived_from<Loss> L>
  Trainer(Sequential& model, O optimizer, L loss, TrainerOptions options = {})
      : Trainer(model, std::make_unique<O>(std::move(optimizer)),
                std::make_unique<const L>(std::move(loss)), std::move(options)) {}
  ~Trainer();

  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  /// Trains for some epochs. Every global batch is cut over the ranks by the model's strategy,
  /// never within a ghost batch; the sample order depends on the seed only, not on the number of
  /// ranks. With Sharding::own_data `data` is this rank's, and validation is of batches of 256. A
  /// run that ended within an epoch is continued there by the next one over the same batches.
  /// Builds a model that is not built. Throws on all ranks alike: MismatchError when they ask for
  /// different things, ArgumentError for options or data that do not fit and for a batch that a
  /// virtual_batch_size does not divide, and what any rank threw. Collective.
  History fit(const Dataset& data, const FitOptions& options = {});

  /// Loss and metrics over a whole data set in inference mode. Where groups of ranks have learned
  /// moving statistics apart, those of all count together, as merge_statistics() makes them, and
  /// are kept by nobody. Throws NonFiniteError where those overflow, MismatchError when the ranks
  /// have different data sets or batch sizes. Collective.
  [[nodiscard]] Scores evaluate(const Dataset& data, std::int64_t batch_size = 256);

  /// The model's outputs for a whole data set, [num_samples, ...], on every rank; statistics as in
  /// evaluate(). Collective.
  [[nodiscard]] Tensor predict(const Dataset& data, std::int64_t batch_size = 256);

  /// One training step on this rank's part of a global batch, which may be empty, for loops of
  /// one's own. `samples` are the global indices of its samples, for dropout. Collective.
  const StepRecord& step(const TensorView& inputs, const TensorView& targets,
                         std::span<const std::int64_t> samples = {});

  /// For a rank whose loop over step() has no more batches: answers the steps of the other ranks
  /// without samples until all ranks have called this. The step in which all do changes nothing on
  /// any rank and is none. Where the model is not built yet its first layer has an input_shape. See
  /// Join. Throws what steps throw. Collective with step() of others.
  void join();

  /// Takes part in the step that is due with an error, for a rank whose loop cannot make it: all
  /// ranks throw that error. Collective with step() of others.
  [[noreturn]] void fail(std::exception_ptr reason);

  /// Ends fit() on all ranks after the step, or the epoch, that ends next; in loops of one's own
  /// the next step's record says to all ranks that one has asked. Local.
  void request_stop() noexcept;

  /// Everything that later steps depend on, but options: a trainer that restores it goes on with
  /// the same bits. Complete on rank 0, empty on the others. Where groups of ranks have learned
  /// statistics apart, those of each are there, and under the variables' own names what
  /// merge_statistics() would make of them. Throws StateError before the model is built and for
  /// deferred updates that were not made, NonFiniteError when merged statistics overflow.
  /// Collective.
  [[nodiscard]] TrainingState state();

  /// Goes back, or on, to a state of this trainer or of one like it, on any number of ranks; equal
  /// on all of them. Groups of ranks take over their statistics when they are the same groups, and
  /// those of all together otherwise. Throws DataError naming everything that is missing,
  /// unexpected or of another shape or dtype, with nothing changed; MismatchError when the ranks
  /// have different states. Collective.
  void restore(const TrainingState& state);

  [[nodiscard]] Sequential& model() noexcept;
  [[nodiscard]] Optimizer& optimizer() noexcept;

  /// Steps that succeeded since the training began, those that were skipped included.
  [[nodiscard]] std::int64_t num_steps() const noexcept;
  /// Epochs that fit() has completed since the training began.
  [[nodiscard]] std::int64_t num_epochs() const noexcept;

  /// Scale of the next step's gradients, 1 without loss scaling.
  [[nodiscard]] double loss_scale() const noexcept;

 private:
  friend class Join;
  friend LOCKSTEP_EXPORT void check_replicas(Trainer& trainer);
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace lockstep

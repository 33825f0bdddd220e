// A stack of layers of which every rank holds a replica.

#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lockstep/base/export.hpp"
#include "lockstep/base/tensor.hpp"
#include "lockstep/layers/layer.hpp"
#include "lockstep/parallel/strategy.hpp"

namespace lockstep {

class SharedGradients;
struct SummaryRow;

struct SequentialOptions {
  DType dtype = DType::float32;  ///< of layers that are told none
  std::uint64_t seed = 0;        ///< of initializers without a seed of their own
  std::string name = "sequential";
};

/// Layers one after another. Every rank of the strategy builds the same model and starts with the
/// same values. It owns the memory of what passes between its layers, activations and gradients,
/// and reuses it: once the largest batch was seen no more is needed.
class LOCKSTEP_EXPORT Sequential {
 public:
  explicit Sequential(SequentialOptions options = {}, Strategy strategy = Strategy::current());
  explicit Sequential(Strategy strategy);
  ~Sequential();
  Sequential(Sequential&&) noexcept;
  Sequential& operator=(Sequential&&) noexcept;

  /// Puts a layer on top. One without a name gets the first free of "dense", "dense_1", ..., one
  /// that reuses the variables of another that of "dense_reuse", "dense_reuse_1", ... Throws
  /// StateError once there are variables.
  Sequential& add(std::unique_ptr<Layer> layer);
  template <std::derived_from<Layer> L>
  Sequential& add(L layer) {
    return add(std::make_unique<L>(std::move(layer)));
  }

  /// Makes the model ready for batches like `input_shape`, whose axis 0 runs over samples and may
  /// have any extent. All ranks compare what they build, then take over the values of rank 0's
  /// variables, also those assigned before. When a rank fails or differs all throw the same error:
  /// ArgumentError for layers that do not fit each other, MismatchError naming the layer. After an
  /// error it can be built again for the same samples. Collective.
  void build(const Shape& input_shape);
  /// The same for the input_shape of the first layer. Collective.
  void build();
  [[nodiscard]] bool is_built() const noexcept { return control_ != nullptr; }

  /// Makes the variables as build() does, without other ranks: for inference, or to assign values
  /// that build() takes over. Throws what build() throws of this rank. Local.
  void create(const Shape& input_shape);
  /// Of one sample; empty before there are variables.
  [[nodiscard]] const std::optional<Shape>& sample_shape() const noexcept { return created_for_; }

  [[nodiscard]] const std::string& name() const noexcept { return options_.name; }
  [[nodiscard]] DType dtype() const noexcept { return options_.dtype; }
  [[nodiscard]] std::uint64_t seed() const noexcept { return options_.seed; }
  [[nodiscard]] const Strategy& strategy() const noexcept { return strategy_; }

  /// All layers, the first one first.
  [[nodiscard]] std::vector<Layer*> layers();
  [[nodiscard]] std::vector<const Layer*> layers() const;
  /// Throws ArgumentError listing the names there are.
  [[nodiscard]] Layer& layer(std::string_view name);

  /// The variables of all layers in order; those that layers share are there once. Before build()
  /// they are made if the first layer has an input_shape; otherwise, or when the layers do not fit
  /// each other, this throws StateError or ArgumentError. variable(), summary() and inference do
  /// the same.
  [[nodiscard]] std::vector<Variable*> variables();
  /// By full name, "dense/kernel". Throws ArgumentError listing the names there are.
  [[nodiscard]] Variable& variable(std::string_view full_name);

  /// Options and layers as one line of JSON; the strategy is no part of it. Throws ArgumentError
  /// for a layer whose configuration is no JSON.
  [[nodiscard]] std::string configuration() const;

  /// A model of the same strategy with clones of all layers, not built. Throws as Layer::clone().
  [[nodiscard]] Sequential clone() const;

  /// A table of the layers with their output shapes and numbers of parameters.
  [[nodiscard]] std::string summary();

  /// The mode of calls of forward() that name none; inference at first. Throws MismatchError when
  /// the ranks do not say the same, once the model is built. Collective once the model is built.
  void set_mode(Mode mode);

  /// The model's output for `input`, valid until the next call of this mode. Training records the
  /// call for backward(): the input's memory must stay as it is until then. Inference has memory of
  /// its own and may come between; its input must not be the result of the call before. call.tape
  /// is not used. A call that measures records nothing, and forgets what was recorded before. When
  /// this rank fails before the last merge of the layers all ranks throw the same error; afterwards
  /// it throws alone. Collective in training mode.
  const Tensor& forward(const TensorView& input, const Call& call);

  /// Gradients of all parameters for the last forward() in training mode, from the gradient of its
  /// output; those of a parameter that layers share are summed. That of the input goes to
  /// `input_gradient` unless that is a null view. Errors as in forward(), StateError when nothing
  /// is recorded. Collective.
  void backward(const TensorView& output_gradient, Gradients gradients = Gradients::overwrite,
                const MutableTensorView& input_gradient = {});

  /// Takes part in the forward() or backward() that is due with an error, for a rank of a user's
  /// own loop that cannot make the call: all ranks throw that error; this rank alone when no layer
  /// merges anything. Collective.
  [[noreturn]] void fail(Pass pass, std::exception_ptr reason);

  /// Makes what the last forward() in training mode learned the layers' state, for
  /// Commit::by_caller.
  void commit() noexcept;

  /// Makes the updates that layers have deferred, in the order of the calls. Local; to be done on
  /// every rank.
  void apply_updates() noexcept;

  /// Adds the merges that a training step makes in the layers, in the order in which they come.
  void add_appointments(Pass pass, Schedule& schedule);

  /// The output in inference mode, a copy. Local.
  [[nodiscard]] Tensor predict(const TensorView& input) {
    return forward(input, {.mode = Mode::inference});
  }

 private:
  struct Stage;

  [[nodiscard]] std::vector<SummaryRow> rows() const;
  [[nodiscard]] Shape sample_shape_for(const std::optional<Shape>& input_shape) const;
  void check_before_create(const Shape& sample_shape) const;
  void create_for(const Shape& sample_shape);
  void create_if_needed();
  void build_for(const std::optional<Shape>& input_shape);
  void run(const TensorView& input, const Call& call);
  void plan_activations(const TensorView& input);
  const Tensor& infer(const TensorView& input, const Call& call);

  SequentialOptions options_;
  Strategy strategy_;
  Mode mode_ = Mode::inference;
  std::vector<Stage> stages_;
  std::optional<Shape> created_for_;  // one sample; set with the first layer's variables
  std::size_t num_created_ = 0;
  bool is_created_ = false;
  std::shared_ptr<const Communicator> control_;  // of the replicas; null until built
  struct Schedules;
  std::unique_ptr<Schedules> schedules_;
  struct Memory;
  std::unique_ptr<Memory> memory_;
  std::unique_ptr<SharedGradients> shared_gradients_;  // set with is_created_
  std::int64_t step_ = -1;                             // of the recorded call
  bool has_record_ = false;
};

/// The model, not built yet, of a text like those of Sequential::configuration(). Throws
/// ArgumentError as layer_from_configuration() does. Local.
[[nodiscard]] LOCKSTEP_EXPORT Sequential sequential_from_configuration(
    std::string_view configuration, Strategy strategy = Strategy::current());

/// True for models of equal configurations, whatever their strategies and variables. Throws as
/// Sequential::configuration() does.
[[nodiscard]] LOCKSTEP_EXPORT bool operator==(const Sequential& a, const Sequential& b);

}  // namespace lockstep

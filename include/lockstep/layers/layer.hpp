// What every layer can do: the one virtual interface of the library.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lockstep/base/export.hpp"
#include "lockstep/base/tensor_view.hpp"
#include "lockstep/comm/communicator.hpp"
#include "lockstep/layers/mode.hpp"
#include "lockstep/layers/scope_options.hpp"
#include "lockstep/parallel/strategy.hpp"
#include "lockstep/params/initializer.hpp"
#include "lockstep/params/update_source.hpp"
#include "lockstep/params/variable.hpp"

namespace lockstep {

class InnerLayers;
class PopulationRecorder;
class Schedule;
class VariableRegistry;
struct CollectedOutput;
struct InnerCalls;

/// When what a forward pass learned (moving statistics) becomes the layer's state.
enum class Commit : std::uint8_t {
  at_once,    ///< at the end of forward()
  by_caller,  ///< when the caller says commit(), after a step that succeeded on all ranks
};

/// Which way through the layers.
enum class Pass : std::uint8_t { forward, backward };

/// What backward needs of one call of forward. The caller keeps and reuses it; it refers to the
/// memory of that call's input, which must stay as it was until backward is done.
class LOCKSTEP_EXPORT Tape {
 public:
  Tape();
  virtual ~Tape();
  Tape(Tape&&) noexcept;
  Tape& operator=(Tape&&) noexcept;

 private:
  friend class InnerLayers;

  std::unique_ptr<InnerCalls> inner_;  // null where the layer has no inner layers
};

/// What a call of forward is about, besides its input and output.
struct Call {
  std::optional<Mode> mode = std::nullopt;  ///< empty: the layer's own, see set_mode()
  Tape* tape = nullptr;                     ///< needed for a later backward()
  Commit commit = Commit::at_once;
  std::int64_t step = -1;  ///< training step, for errors and random numbers
  std::uint64_t seed = 0;  ///< of random numbers
  /// Global index of each local sample, for random numbers; empty: 0, 1, 2, ...
  std::span<const std::int64_t> samples = {};
  /// Frequency weights of the local samples, [samples], floating, finite, >= 0. Batch statistics
  /// are weighted with them.
  TensorView batch_weights = {};
  /// Boolean, over the samples or further leading axes of the input; what is false has weight 0.
  TensorView mask = {};
  /// Added before the activation of a layer that takes one; like the output. Its memory must stay
  /// as it was until backward is done.
  TensorView residual = {};
  /// Makes a training call one that measures: what batch normalization sees goes here, and no layer
  /// learns anything. See PopulationRecorder.
  PopulationRecorder* population = nullptr;
};

/// What happens to the gradients of variables that are there already. Accumulating over passes
/// whose GradientScope differs is a StateError before anything changes, unless what is there is
/// zero.
enum class Gradients : std::uint8_t { overwrite, accumulate };

/// How a layer is named, stored and trained; every layer's options hold these.
struct LayerTraits {
  std::string type;                  ///< "Dense"
  std::string name;                  ///< empty: a default name, made unique in store and model
  std::optional<Shape> input_shape;  ///< of one sample, for the first layer of a model
  /// Of inputs and outputs; empty: the model's, float32 outside of one. Variables are float32 where
  /// this is float16 or bfloat16.
  std::optional<DType> dtype;
  bool trainable = true;
  ScopeOptions scope = {};
};

/// A function of a batch with a backward pass and possibly variables. Axis 0 of its input runs over
/// samples; the number of samples may differ from call to call and from rank to rank.
///
/// A layer is named, and keeps its variables, in the VariableScope and the VariableStore that are
/// open on its thread when it is made.
class LOCKSTEP_EXPORT Layer {
 public:
  explicit Layer(LayerTraits traits);
  virtual ~Layer();
  Layer(Layer&&) noexcept;
  Layer& operator=(Layer&&) noexcept;

  /// With the scopes that it is in: "block1/dense".
  [[nodiscard]] const std::string& name() const noexcept { return traits_.name; }
  [[nodiscard]] const std::string& type() const noexcept { return traits_.type; }
  /// True when no name was given, so that a container may choose one.
  [[nodiscard]] bool has_default_name() const noexcept { return has_default_name_; }
  /// What the names of its variables begin with: its own name, unless a container gave it another
  /// one because two layers of a store share theirs.
  [[nodiscard]] const std::string& variable_scope() const noexcept { return variable_scope_; }
  /// True when it shares the variables of a layer that was built before.
  [[nodiscard]] bool reuses_variables() const noexcept { return reuses_variables_; }
  [[nodiscard]] DType dtype() const noexcept { return traits_.dtype.value_or(DType::float32); }
  [[nodiscard]] const std::optional<Shape>& input_shape() const noexcept {
    return traits_.input_shape;
  }
  [[nodiscard]] bool is_trainable() const noexcept { return traits_.trainable; }

  /// Layers that this one consists of, in the order in which forward passes through them; most have
  /// none. They are built, frozen, committed and synchronized with it, and named after it:
  /// "dense/batch_normalization". In a store they keep their variables where they were made.
  [[nodiscard]] std::span<const std::unique_ptr<Layer>> inner_layers() const noexcept;

  /// Freezes the layer, with those inside, or ends that. Variables that it shares are frozen for
  /// all layers; what else another layer learns is its own matter. Throws MismatchError when the
  /// ranks do not say the same, once the layer is built. Collective once the layer is built.
  void set_trainable(bool is_trainable);

  /// The mode of calls that name none; inference at first. Throws MismatchError when the ranks do
  /// not say the same, once the layer is built. Collective once the layer is built.
  void set_mode(Mode mode);
  [[nodiscard]] Mode mode() const noexcept { return mode_; }

  /// Makes a layer that stands alone ready for inputs like `input_shape` (with the batch axis,
  /// whose extent is free and may differ by rank). All ranks of `replicas` compare what they build;
  /// when one fails or differs all throw the same error. Collective.
  void build(const Shape& input_shape,
             const Communicator& replicas = Strategy::current().replicas());
  [[nodiscard]] bool is_built() const noexcept { return control_ != nullptr; }

  /// The same in two steps, for containers that agree on many layers at once: variables (local),
  /// then communicators. `control` carries later agreements. connect is collective.
  void create(const Shape& input_shape, DType default_dtype, std::uint64_t seed);
  void connect(std::shared_ptr<const Communicator> control);

  /// Shape of the output for an input shape, both with the batch axis. Throws ArgumentError when
  /// the layer cannot take such an input.
  [[nodiscard]] virtual Shape output_shape(const Shape& input_shape) const = 0;

  /// All options; ranks that build the layer compare it, but for what keys "differs_by_rank" hold.
  /// Layers of the library give one line of JSON, {"type": "Dense", "options": {"units": 3, ...}},
  /// with the options under their names, the present `name`, `trainable` and `mode` among them.
  /// Numbers read back as they were, "infinity" and "nan" as texts; an empty optional is null. A
  /// function of the user's own is there by its name only, the adjustment of batch normalization by
  /// being there. Throws ArgumentError for text that is not UTF-8. A layer of the user's own may
  /// give any text, or one like these, of which ranks compare option by option; see
  /// register_layer().
  [[nodiscard]] virtual std::string configuration() const = 0;

  /// A layer with the same options, functions included, the same name and mode; not built, and
  /// without variables. This default makes it of configuration() and throws as
  /// layer_from_configuration() does; every layer of the library has its own.
  [[nodiscard]] virtual std::unique_ptr<Layer> clone() const;

  [[nodiscard]] virtual std::unique_ptr<Tape> make_tape() const = 0;

  /// output = layer(input). Collective where the layer is synchronized and the mode is training.
  virtual void forward(const TensorView& input, const MutableTensorView& output,
                       const Call& call) = 0;

  /// Gradients of the loss (summed over samples) of the call that `tape` recorded, from the one of
  /// its output. A null view as `input_gradient` skips that part. Collective as forward was.
  virtual void backward(Tape& tape, const TensorView& output_gradient,
                        const MutableTensorView& input_gradient,
                        Gradients gradients = Gradients::overwrite) = 0;

  /// True when two tensors with as many elements may be one memory: input and output of forward()
  /// without a tape, the output's gradient and the input's in backward(). By default false, which
  /// is always safe.
  [[nodiscard]] virtual bool works_in_place() const noexcept { return false; }
  /// Whether collections of a VariableStore show its outputs, which then need memory that stays.
  [[nodiscard]] bool shows_outputs() const noexcept { return collected_output_ != nullptr; }

  /// Makes what the recorded call learned the layer's state, once; by default that of the inner
  /// layers.
  virtual void commit(Tape& tape) noexcept;

  /// Makes what calls have collected for later, in their order, each once. Local; replicas stay
  /// replicas when every rank does it.
  virtual void apply_updates() noexcept;

  /// What these are collected in, for making them in one order with those of other layers; null for
  /// a layer that collects nothing.
  [[nodiscard]] UpdateSource* update_source() const noexcept { return update_source_.get(); }
  /// Makes moving statistics that groups of ranks have learned apart those of all ranks, for
  /// inference that is the same everywhere; see BatchNormalization. Collective.
  virtual void merge_statistics();

  /// Adds the merges that a training step makes in this layer, in their order.
  virtual void add_appointments(Pass pass, Schedule& schedule);

  /// All variables in a fixed order, each once, those of inner layers last; empty before create().
  [[nodiscard]] virtual std::vector<Variable*> variables();

  /// The variable of this full name, "dense/kernel", or of the name within the layer, "kernel".
  /// Throws ArgumentError listing those there are.
  [[nodiscard]] Variable& variable(std::string_view name);

  /// Whether the layer, and those inside of it, take batches of any size; once it has variables.
  [[nodiscard]] bool takes_any_batch() const;

  /// For containers: gives the layer its name in the model, after which its inner layers are named;
  /// before create() only. In a store its variables stay where they are.
  void rename(std::string name);

 protected:
  /// Makes the variables and checks that options and input fit each other. Local.
  virtual void do_create(const Shape& input_shape) = 0;
  /// Makes communicators among `replicas`. Collective.
  virtual void do_connect(const Communicator& replicas);

  /// Whether inputs of this shape may follow once the layer was created: by default those that
  /// differ in the number of samples only.
  [[nodiscard]] virtual bool accepts(const Shape& input_shape) const;

  /// Gives a new parameter its regularizer and constraint. One that is shared keeps those of the
  /// layer that made it.
  void penalize(Variable& parameter, const Regularizer& regularizer, const Constraint& constraint);

  /// A variable of the layer, with an initial value; or the one that it shares, which keeps the
  /// value that it has. Throws ArgumentError when that is missing or another, and when a variable
  /// of this name is there and not to be shared.
  Variable& add_variable(std::string_view name, Tensor value, VariableRole role);
  /// With a value of parameter_dtype_of(dtype()) that the initializer fills.
  Variable& add_variable(std::string_view name, const Shape& shape, const Initializer& initializer,
                         VariableRole role);

  /// For do_create(): where calls collect updates for later.
  void set_update_source(std::shared_ptr<UpdateSource> source) noexcept {
    update_source_ = std::move(source);
  }

  /// For the end of forward(): shows the output in the layer's collections.
  void note_output(const TensorView& output) noexcept;

  /// The layers inside, with all that is done to them; see inner_layers.hpp.
  [[nodiscard]] InnerLayers& inner();
  /// For make_tape(): gives it tapes of the inner layers, where there are any.
  void equip(Tape& tape) const;

  /// Throws unless the layer was created and both views fit it: StateError, ArgumentError.
  void check_call(const TensorView& input, const MutableTensorView& output) const;
  /// Throws ArgumentError unless the gradients fit a call whose input had this shape, StateError
  /// when no call of this layer has such an input.
  void check_gradients(const Shape& input, const TensorView& output_gradient,
                       const MutableTensorView& input_gradient) const;

  /// Throws MismatchError when the layer is built and ranks set different values. Collective then.
  void agree_on(std::string_view setting, std::string value) const;

  /// All ranks that hold replicas, for agreements; once the layer is built.
  [[nodiscard]] const Communicator& control() const noexcept { return *control_; }

  [[nodiscard]] Mode mode_of(const Call& call) const noexcept { return call.mode.value_or(mode_); }

  /// The given initializer may use this seed.
  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }
  /// True once the layer has its variables.
  [[nodiscard]] bool is_created() const noexcept { return created_for_ != nullptr; }
  /// Input shape that the layer was created for.
  [[nodiscard]] const Shape& created_for() const noexcept { return *created_for_; }

 private:
  friend class InnerLayers;

  void make_variables(const Shape& input_shape, DType default_dtype, std::uint64_t seed);
  void check_scope() const;
  void check_collections() const;
  void enter_collections();
  void enter_own_collections();
  Variable& share_variable(std::string full_name, const Shape& shape, DType variable_dtype,
                           VariableRole role);
  void freeze(bool is_trainable) noexcept;

  LayerTraits traits_;
  bool has_default_name_;
  bool reuses_variables_ = false;
  std::string variable_scope_;
  std::shared_ptr<VariableRegistry> registry_;  // null outside of a store
  Mode mode_ = Mode::inference;
  std::vector<std::shared_ptr<Variable>> variables_;
  std::unique_ptr<InnerLayers> inner_;  // null without any
  std::shared_ptr<UpdateSource> update_source_;
  std::shared_ptr<CollectedOutput> collected_output_;  // null without collections
  std::shared_ptr<const Communicator> control_;        // null until built
  std::unique_ptr<const Shape> created_for_;           // null until created, and after a move
  std::uint64_t seed_ = 0;
};

/// True for layers of one type with equal configurations. Functions are equal when their names are,
/// and adjustments of batch normalization always.
[[nodiscard]] LOCKSTEP_EXPORT bool operator==(const Layer& a, const Layer& b);

}  // namespace lockstep

// Layers inside of a layer: how they are held, built and called.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "comm/schedule.hpp"
#include "lockstep/layers/layer.hpp"
#include "params/variable_place.hpp"

namespace lockstep {

/// What a tape holds of a call of a layer that has others inside.
struct InnerCalls {
  std::uint64_t owner = 0;  ///< the layer, by the number of its InnerLayers
  std::vector<std::unique_ptr<Tape>> tapes;
  Schedule backward;       ///< the merges of the recorded call's backward pass
  std::int64_t step = -1;  ///< of the recorded call
  bool has_call = false;   ///< of forward that succeeded
};

/// The layers inside of another one, their owner, in the order in which forward passes through
/// them. What is done to the owner is done to them, by Layer; they are called by the owner.
class InnerLayers {
 public:
  [[nodiscard]] std::span<const std::unique_ptr<Layer>> all() const noexcept { return layers_; }

  /// Makes the last layer, in the scope of the owner: it keeps its variables where the owner does,
  /// and shares them when the owner shares its own.
  template <class L, class Options>
  L& make(Layer& owner, Options&& options) {
    const std::unique_ptr<VariablePlace, Return> here = enter_scope_of(owner);
    auto layer = std::make_unique<L>(std::forward<Options>(options));
    L& result = *layer;
    insert(layers_.size(), std::move(layer));
    return result;
  }

  /// Takes in a layer that was made elsewhere and names it after the owner unless it is. Throws
  /// ArgumentError for a null pointer, StateError once the owner was created.
  void adopt(Layer& owner, std::size_t position, std::unique_ptr<Layer> layer);

  /// For do_create() of the owner: makes the variables of a layer. Throws ArgumentError when it has
  /// a dtype of its own that is another.
  void create(const Layer& owner, Layer& layer, const Shape& input_shape, DType dtype) const;

  /// Gives the owner's tape those of the layers.
  void equip(Tape& tape) const;

  /// Forward of the owner: body(call) with a mode, with a tape, and without a residual, to be
  /// committed by the caller. A rank that fails in training takes that to the merges that are due,
  /// as Schedule::keep() does. Collective in training mode.
  template <class Body>
  void forward(Layer& owner, const Call& call, Body&& body) {
    const Mode mode = begin_forward(owner, call);
    const auto run = [&] {
      const Call inner = inner_call_of(owner, call, mode);
      body(inner);
      finish_forward(owner, inner, call.commit);
    };
    if (mode == Mode::inference) return run();
    forward_.keep(call.step, run, [&] { return place_of(owner, "forward", call.step); });
  }

  /// Backward of the owner for a call that `tape` recorded; StateError when it recorded none.
  /// Collective as the recorded forward was.
  template <class Body>
  void backward(const Layer& owner, Tape& tape, Body&& body) {
    InnerCalls* const recorded = begin_backward(owner, tape);
    const std::int64_t step = recorded == nullptr ? -1 : recorded->step;
    const auto run = [&] {
      if (recorded == nullptr) refuse(owner, tape);
      body();
    };
    (recorded == nullptr ? backward_ : recorded->backward).keep(step, run, [&] {
      return place_of(owner, "backward", step);
    });
  }

  /// The part of one layer in these; errors name it. `call` and `tape` are those of the owner.
  void forward_through(std::size_t position, const TensorView& input,
                       const MutableTensorView& output, const Call& call) const;
  void backward_through(std::size_t position, Tape& tape, const TensorView& output_gradient,
                        const MutableTensorView& input_gradient, Gradients gradients) const;
  [[nodiscard]] Tape& tape_of(std::size_t position, Tape& tape) const noexcept;

 private:
  friend class Layer;

  // Goes back to the scope that was left.
  struct Return {
    void operator()(VariablePlace* left) const noexcept;
  };

  [[nodiscard]] static std::uint64_t next_number() noexcept;
  [[nodiscard]] static std::unique_ptr<VariablePlace, Return> enter_scope_of(const Layer& owner);
  void insert(std::size_t position, std::unique_ptr<Layer> layer);

  // What Layer passes on.
  void rename(std::string_view old_owner, std::string_view new_owner);
  void forget_variables() noexcept;
  void freeze(bool is_trainable) noexcept;
  void commit(Tape& tape) noexcept;
  void apply_updates() noexcept;
  void add_appointments(Pass pass, Schedule& schedule);
  [[nodiscard]] std::shared_ptr<UpdateSource> updates_with(std::shared_ptr<UpdateSource> own) const;

  [[nodiscard]] Mode begin_forward(Layer& owner, const Call& call);
  [[nodiscard]] Call inner_call_of(const Layer& owner, const Call& call, Mode mode);
  void finish_forward(Layer& owner, const Call& inner, Commit commit) const noexcept;
  [[nodiscard]] InnerCalls* begin_backward(const Layer& owner, Tape& tape) const;
  [[nodiscard]] InnerCalls* calls_on(const Tape& tape) const noexcept;
  [[noreturn]] void refuse(const Layer& owner, const Tape& tape) const;
  [[nodiscard]] static Meeting place_of(const Layer& owner, const char* phase, std::int64_t step);

  const std::uint64_t number_ = next_number();  // of no other layer in this process
  std::vector<std::unique_ptr<Layer>> layers_;
  Schedule forward_;
  Schedule backward_;               // of the last training call
  std::unique_ptr<Tape> own_tape_;  // of calls that bring none; null until there is one
};

}  // namespace lockstep

// The tape of layers whose backward pass needs the input of the call, and perhaps more.

#pragma once

#include <spdlog/fmt/fmt.h>

#include <optional>

#include "lockstep/base/error.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep {

/// A type of its own for every type of layer, so that tapes cannot be mixed up between them. A
/// layer that keeps more derives its one type of tape from it.
template <class Owner>
struct InputTape : Tape {
  std::optional<TensorView> input;
};

/// The tape as one of `layer`. Throws StateError when it is another type's.
template <class Owner>
[[nodiscard]] InputTape<Owner>& input_tape_of(const Owner& layer, Tape& tape) {
  auto* const result = dynamic_cast<InputTape<Owner>*>(&tape);
  if (result == nullptr)
    throw StateError(fmt::format(
        "layer '{}' was given another layer type's tape; use one of its own make_tape()",
        layer.name()));
  return *result;
}

/// Keeps a view of the input on the call's tape, if there is one.
template <class Owner>
void record_input(const Owner& layer, const Call& call, const TensorView& input) {
  if (call.tape != nullptr) input_tape_of(layer, *call.tape).input = input;
}

/// The input of the recorded call. Throws StateError when nothing was recorded.
template <class Owner>
[[nodiscard]] const TensorView& recorded_input(const Owner& layer, Tape& tape) {
  const InputTape<Owner>& own = input_tape_of(layer, tape);
  if (!own.input)
    throw StateError(fmt::format(
        "the tape given to layer '{}' recorded no call; pass it to forward() before backward()",
        layer.name()));
  return *own.input;
}

}  // namespace lockstep

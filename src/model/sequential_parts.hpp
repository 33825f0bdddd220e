// What a model keeps besides its layers.

#pragma once

#include <array>
#include <memory>

#include "base/arena.hpp"
#include "comm/schedule.hpp"
#include "lockstep/model/sequential.hpp"

namespace lockstep {

struct Sequential::Stage {
  std::unique_ptr<Layer> layer;
  std::unique_ptr<Tape> tape;  // of the recorded call
  Shape output_shape;          // for a batch of one
  MutableTensorView output;    // of the recorded call

  // Memory of outputs that collections show: of the recorded call, and in inference mode.
  Tensor shown = {}, shown_in_inference = {};
};

struct Sequential::Memory {
  Arena activations;  // of the recorded call: the outputs of all layers but the last
  Tensor output;      // of the last

  std::array<Tensor, 2> inference;  // activations in inference mode, in turns
  std::array<Tensor, 2> gradients;  // of activations, in turns
};

struct Sequential::Schedules {
  Schedule forward;
  Schedule backward;  // of the recorded call
};

}  // namespace lockstep

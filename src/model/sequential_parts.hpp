// What a model keeps besides its layers.

#pragma once

#include <memory>

#include "comm/schedule.hpp"
#include "lockstep/model/sequential.hpp"

namespace lockstep {

struct Sequential::Stage {
  std::unique_ptr<Layer> layer;
  std::unique_ptr<Tape> tape;  // of the recorded call
  Shape output_shape;          // for a batch of one
  Tensor output;               // in training mode
};

struct Sequential::Schedules {
  Schedule forward;
  Schedule backward;  // of the recorded call
};

}  // namespace lockstep

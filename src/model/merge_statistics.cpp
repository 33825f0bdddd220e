#include "lockstep/model/merge_statistics.hpp"

#include <spdlog/fmt/fmt.h>

#include "lockstep/base/error.hpp"

namespace lockstep {

void merge_statistics(Sequential& model) {
  if (!model.is_built())
    throw StateError(fmt::format(
        "model '{}' is not built; its statistics can be merged after build()", model.name()));
  for (Layer* layer : model.layers()) layer->merge_statistics();
}

}  // namespace lockstep

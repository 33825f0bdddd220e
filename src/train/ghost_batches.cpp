#include "train/ghost_batches.hpp"

#include <spdlog/fmt/fmt.h>

#include <iterator>
#include <numeric>

#include "lockstep/base/error.hpp"
#include "model/normalizations.hpp"

namespace lockstep {
namespace {

void check_divides(const BatchNormalization& layer, std::int64_t virtual_batch_size,
                   std::int64_t batch, const char* which, const char* remedy) {
  if (batch % virtual_batch_size != 0)
    throw ArgumentError(
        fmt::format("layer '{}': virtual_batch_size {} does not divide {} of {} samples over all "
                    "ranks; choose {}",
                    layer.name(), virtual_batch_size, which, batch, remedy));
}

}  // namespace

std::int64_t ghost_unit_of(Sequential& model, const Sampler& sampler) {
  const std::int64_t num_batches = sampler.num_batches();
  std::int64_t unit = 1;
  if (num_batches == 0) return unit;
  for (const BatchNormalization* layer : normalizations_of(model)) {
    const BatchNormalizationOptions& options = layer->options();
    const bool is_used = layer->is_trainable() || options.frozen_mode != FrozenMode::inference;
    if (!options.virtual_batch_size || *options.virtual_batch_size < 1 || !is_used) continue;
    if (num_batches > 1)
      check_divides(*layer, *options.virtual_batch_size, std::ssize(sampler.batch(0)), "a batch",
                    "a batch_size that it divides");
    check_divides(*layer, *options.virtual_batch_size, std::ssize(sampler.batch(num_batches - 1)),
                  "the last batch", "another batch_size, or drop_remainder");
    unit = std::lcm(unit, *options.virtual_batch_size);
  }
  return unit;
}

}  // namespace lockstep

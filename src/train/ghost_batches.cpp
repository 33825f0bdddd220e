#include "train/ghost_batches.hpp"

#include <spdlog/fmt/fmt.h>

#include <iterator>
#include <numeric>
#include <vector>

#include "lockstep/base/error.hpp"
#include "lockstep/layers/batch_normalization.hpp"

namespace lockstep {
namespace {

void check_divides(const BatchNormalization& layer, std::int64_t virtual_batch_size,
                   std::int64_t batch, const char* which, const char* whose, const char* remedy) {
  if (batch % virtual_batch_size != 0)
    throw ArgumentError(
        fmt::format("layer '{}': virtual_batch_size {} does not divide {} of {} samples{}; "
                    "choose {}",
                    layer.name(), virtual_batch_size, which, batch, whose, remedy));
}

// The sizes of ghost batches that training will use; layers that are not built do not know yet that
// one around them is frozen.
void add_used(Layer& layer, bool is_frozen, std::vector<const BatchNormalization*>& found) {
  is_frozen = is_frozen || !layer.is_trainable();
  if (const auto* normalization = dynamic_cast<const BatchNormalization*>(&layer)) {
    const BatchNormalizationOptions& options = normalization->options();
    const bool is_used = !is_frozen || options.frozen_mode != FrozenMode::inference;
    if (is_used && options.virtual_batch_size.value_or(0) > 0) found.push_back(normalization);
  }
  for (const auto& inner : layer.inner_layers()) add_used(*inner, is_frozen, found);
}

}  // namespace

std::int64_t ghost_unit_of(Sequential& model, const Sampler& sampler, const char* whose) {
  const std::int64_t num_batches = sampler.num_batches();
  std::int64_t unit = 1;
  if (num_batches == 0) return unit;
  std::vector<const BatchNormalization*> layers;
  for (Layer* layer : model.layers()) add_used(*layer, false, layers);
  for (const BatchNormalization* layer : layers) {
    const std::int64_t size = *layer->options().virtual_batch_size;
    if (num_batches > 1)
      check_divides(*layer, size, std::ssize(sampler.batch(0)), "a batch", whose,
                    "a batch_size that it divides");
    check_divides(*layer, size, std::ssize(sampler.batch(num_batches - 1)), "the last batch", whose,
                  "another batch_size, or drop_remainder");
    unit = std::lcm(unit, size);
  }
  return unit;
}

}  // namespace lockstep

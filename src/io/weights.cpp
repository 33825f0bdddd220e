#include "lockstep/io/weights.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.hpp"
#include "comm/agreement.hpp"
#include "io/checkpoint_content.hpp"
#include "io/file_metadata.hpp"
#include "io/rank_zero.hpp"
#include "io/shared_file.hpp"
#include "io/weight_names.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "model/normalizations.hpp"
#include "model/pooled_statistics.hpp"
#include "train/misfits.hpp"
#include "train/throw_on_all.hpp"

namespace lockstep {
namespace {

using Values = std::vector<std::pair<Variable*, Tensor>>;

bool counts_updates(const Variable& variable) { return variable.name().ends_with("/num_updates"); }

void erase_state(TensorFile& content) {
  std::erase_if(content.tensors, [](const auto& entry) { return is_of_training(entry.first); });
}

// What the variables become; what does not fit is a misfit.
Values values_in(const TensorFile& content, Sequential& model, WeightNames names,
                 Misfits& misfits) {
  Values values;
  const bool is_own = kind_of(content).has_value();
  for (Variable* variable : model.variables()) {
    if (!is_weight(*variable)) continue;
    const StoredForm form = stored_form_of(*variable, names);
    if (!is_own && counts_updates(*variable) && !content.tensors.contains(form.name)) {
      values.emplace_back(variable, Tensor(variable->shape(), variable->dtype()));
      continue;
    }
    const Tensor* stored =
        misfits.expect(form.name, stored_shape_of(form, variable->shape()), variable->dtype());
    if (stored != nullptr) values.emplace_back(variable, from_stored(form, *stored));
  }
  return values;
}

// What a layer keeps for itself follows from what was loaded. Nobody knows how many elements that
// comes from.
void follow_statistics(BatchNormalization& layer) {
  if (!layer.options().track_moving_statistics) return;
  layer.variable("shift").assign(layer.moving_mean().value());
  std::ranges::fill(layer.variable("num_elements").value().values<double>(), 0.0);
}

}  // namespace

void save_weights(Sequential& model, const std::filesystem::path& path, WeightNames names) {
  const Communicator& replicas = model.strategy().replicas();
  const PooledStatistics pooled(model);
  on_rank_zero(replicas, {"weights", "save"}, [&] {
    TensorFile content;
    for (const Variable* variable : model.variables())
      if (is_weight(*variable)) add_weight(*variable, variable->value(), names, content);
    describe(model, weights_kind, names, content);
    write_safetensors(path, content);
  });
}

void load_weights(Sequential& model, const std::filesystem::path& path, WeightNames names) {
  const Communicator& replicas = model.strategy().replicas();
  const Meeting meeting{"weights", "load"};
  TensorFile content = read_shared_safetensors(replicas, meeting, path);
  Values values;
  std::string misfits;
  const auto failure = attempt([&] {
    if (kind_of(content) == checkpoint_kind) erase_state(content);
    Misfits found(content.tensors);
    values = values_in(content, model, names_in(content, names), found);
    misfits = found.text();
  });
  agree(replicas, meeting, {}, failure);
  if (!misfits.empty())
    throw_on_all(
        replicas, meeting, ErrorCode::data,
        fmt::format("{} does not fit model '{}': {}", path.string(), model.name(), misfits));
  for (auto& [variable, value] : values) copy_bytes(value, variable->value());
  for (BatchNormalization* layer : normalizations_of(model)) follow_statistics(*layer);
}

}  // namespace lockstep

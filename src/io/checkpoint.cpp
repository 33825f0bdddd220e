#include "lockstep/io/checkpoint.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "comm/agreement.hpp"
#include "io/checkpoint_content.hpp"
#include "io/file_metadata.hpp"
#include "io/rank_zero.hpp"
#include "io/shared_file.hpp"
#include "io/weight_names.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

using namespace std::string_view_literals;

constexpr const char* state_prefix = "state:";

TensorFile content_of(TrainingState state, Trainer& trainer, const CheckpointOptions& options) {
  Sequential& model = trainer.model();
  TensorFile content;
  for (const Variable* variable : model.variables()) {
    auto node = state.extract(variable->name());
    if (is_weight(*variable))
      add_weight(*variable, node.mapped(), options.names, content);
    else
      content.tensors[state_prefix + variable->name()] = std::move(node.mapped());
  }
  content.tensors.merge(state);
  describe(model, checkpoint_kind, options.names, content);
  content.metadata["lockstep.optimizer"] = trainer.optimizer().configuration();
  content.metadata["lockstep.ranks"] = std::to_string(model.strategy().num_replicas());
  if (options.validation_loss)
    content.metadata[validation_loss_key] = fmt::format("{}", *options.validation_loss);
  if (!options.note.empty()) content.metadata["lockstep.note"] = options.note;
  return content;
}

TrainingState state_of(TensorFile content, Sequential& model) {
  const WeightNames names = names_in(content, WeightNames::pytorch);
  TrainingState state;
  for (const Variable* variable : model.variables()) {
    const StoredForm form = stored_form_of(*variable, names);
    const bool is_stored_weight = is_weight(*variable);
    const auto node =
        content.tensors.extract(is_stored_weight ? form.name : state_prefix + variable->name());
    if (node.empty()) continue;
    state[variable->name()] =
        is_stored_weight ? from_stored(form, node.mapped()) : std::move(node.mapped());
  }
  state.merge(content.tensors);
  return state;
}

}  // namespace

bool is_of_training(const std::string& name) {
  static constexpr std::array prefixes{"state:"sv, "optimizer:"sv, "trainer:"sv, "groups:"sv,
                                       "rank "sv};
  return std::ranges::any_of(prefixes,
                             [&](std::string_view prefix) { return name.starts_with(prefix); });
}

void require_checkpoint(const std::optional<std::string>& kind, const std::string& what) {
  if (kind != checkpoint_kind)
    throw DataError(
        fmt::format("{} is no checkpoint of lockstep's but {}; only load_weights() can use it",
                    what, kind ? "a file of weights" : "a file of another program"));
}

void save_content(Trainer& trainer, const CheckpointOptions& options,
                  const std::function<void(const TensorFile&)>& write) {
  TrainingState state = trainer.state();
  on_rank_zero(trainer.model().strategy().replicas(), {"checkpoint", "save", trainer.num_steps()},
               [&] { write(content_of(std::move(state), trainer, options)); });
}

void save_checkpoint(Trainer& trainer, const std::filesystem::path& path,
                     const CheckpointOptions& options) {
  save_content(trainer, options,
               [&](const TensorFile& content) { write_safetensors(path, content); });
}

void load_checkpoint(Trainer& trainer, const std::filesystem::path& path) {
  const Communicator& replicas = trainer.model().strategy().replicas();
  const Meeting meeting{"checkpoint", "load"};
  TensorFile content = read_shared_safetensors(replicas, meeting, path);
  TrainingState state;
  const auto failure = attempt([&] {
    require_checkpoint(kind_of(content), path.string());
    state = state_of(std::move(content), trainer.model());
  });
  agree(replicas, meeting, {}, failure);
  trainer.restore(state);
}

void verify_checkpoint(const std::filesystem::path& path) {
  require_checkpoint(kind_of(verify_safetensors(path)), path.string());
}

}  // namespace lockstep

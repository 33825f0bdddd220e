#include "train/group_statistics.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <functional>
#include <span>

#include "base/bytes.hpp"
#include "lockstep/comm/collectives.hpp"
#include "model/normalizations.hpp"

namespace lockstep {
namespace {

std::vector<Variable*> learned_variables_of(BatchNormalization& layer) {
  std::vector<Variable*> variables = layer.variables();
  std::erase_if(variables, [](const Variable* variable) {
    return variable->role() == VariableRole::parameter;
  });
  return variables;
}

// The values of the variables, one behind the other.
std::vector<std::byte> packed(const std::vector<Variable*>& variables) {
  std::vector<std::byte> bytes;
  for (const Variable* variable : variables) {
    const auto value = bytes_of(variable->value());
    bytes.insert(bytes.end(), value.begin(), value.end());
  }
  return bytes;
}

void add_to(Tensor& sum, const Tensor& counts) {
  const auto sums = sum.values<double>();
  std::ranges::transform(sums, counts.values<double>(), sums.begin(), std::plus());
}

}  // namespace

std::int64_t DividedLayer::num_groups() const {
  std::int64_t count = 0;
  const auto values = leaders.values<std::int64_t>();
  for (std::size_t rank = 0; rank < values.size(); ++rank)
    if (values[rank] == static_cast<std::int64_t>(rank)) ++count;
  return count;
}

std::vector<DividedLayer> divided_layers_of(Sequential& model) {
  const Communicator& replicas = model.strategy().replicas();
  std::vector<DividedLayer> divided;
  for (BatchNormalization* layer : normalizations_of(model)) {
    const Communicator& group = layer->statistics_group();
    if (group.size() == replicas.size()) continue;
    std::array<std::int64_t, 1> leader{replicas.rank()};
    broadcast(group, std::as_writable_bytes(std::span(leader)), 0);
    Tensor leaders({replicas.size()}, DType::int64);
    allgather(replicas, std::as_bytes(std::span(leader)), bytes_of(MutableTensorView(leaders)));
    divided.push_back({layer, learned_variables_of(*layer), std::move(leaders)});
  }
  return divided;
}

std::string groups_name_of(const DividedLayer& divided) {
  return "groups:" + divided.layer->name();
}

std::string group_name_of(std::int64_t leader, const Variable& variable) {
  return fmt::format("rank {}:{}", leader, variable.name());
}

bool is_of_groups(const std::string& name) {
  return name.starts_with("groups:") || name.starts_with("rank ");
}

bool is_element_count(const Variable& variable) {
  return variable.name().ends_with("/num_elements") && variable.dtype() == DType::float64;
}

void add_group_statistics(const Communicator& replicas, const std::vector<DividedLayer>& divided,
                          TrainingState& state) {
  for (const DividedLayer& part : divided) {
    const bool speaks = part.leader_of(replicas.rank()) == replicas.rank();
    const auto all =
        allgather_varying(replicas, speaks ? packed(part.variables) : std::vector<std::byte>());
    state[groups_name_of(part)] = part.leaders;
    for (std::size_t rank = 0; rank < all.size(); ++rank) {
      std::span<const std::byte> bytes = all[rank];
      if (bytes.empty()) continue;
      for (const Variable* variable : part.variables) {
        Tensor value(variable->shape(), variable->dtype());
        const auto target = bytes_of(MutableTensorView(value));
        std::ranges::copy(bytes.first(target.size()), target.begin());
        bytes = bytes.subspan(target.size());
        if (is_element_count(*variable)) {
          const auto [total, is_new] = state.try_emplace(variable->name(), value);
          if (!is_new) add_to(total->second, value);
        }
        state[group_name_of(static_cast<std::int64_t>(rank), *variable)] = std::move(value);
      }
    }
  }
}

}  // namespace lockstep

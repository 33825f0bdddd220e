// The statistics that groups of ranks have learned apart, collected on all ranks.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/model/sequential.hpp"
#include "lockstep/train/training_state.hpp"

namespace lockstep {

/// A layer whose statistics differ between groups of ranks.
struct DividedLayer {
  BatchNormalization* layer;
  std::vector<Variable*> variables;  ///< which differ
  Tensor leaders;                    ///< int64 [ranks]: the first rank of each rank's group

  [[nodiscard]] std::int64_t leader_of(int rank) const {
    return leaders.values<std::int64_t>()[static_cast<std::size_t>(rank)];
  }
  [[nodiscard]] std::int64_t num_groups() const;
};

/// Those of a model that is built. Collective.
[[nodiscard]] std::vector<DividedLayer> divided_layers_of(Sequential& model);

/// Names of entries of a TrainingState, and whether one is such.
[[nodiscard]] std::string groups_name_of(const DividedLayer& divided);
[[nodiscard]] std::string group_name_of(std::int64_t leader, const Variable& variable);
[[nodiscard]] bool is_of_groups(const std::string& name);

/// Whether the variable counts the elements in moving statistics.
[[nodiscard]] bool is_element_count(const Variable& variable);

/// Adds the entries of these layers: their groups, and the values of each. Under the name of a
/// count of elements comes the count of all groups together. Collective.
void add_group_statistics(const Communicator& replicas, const std::vector<DividedLayer>& divided,
                          TrainingState& state);

}  // namespace lockstep

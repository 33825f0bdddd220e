#include "conformance/replicas.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "conformance/on_all_ranks.hpp"
#include "conformance/tensors.hpp"
#include "lockstep/comm/collectives.hpp"

namespace lockstep::conformance {
namespace {

void require_same(const Communicator& world, const std::string& name, std::vector<double> values) {
  for (double& value : values)
    if (std::isnan(value)) value = std::numeric_limits<double>::quiet_NaN();
  const auto all = allgather_varying(world, std::as_bytes(std::span(values)));
  const auto other = std::ranges::find_if(all, [&](const auto& bytes) { return bytes != all[0]; });
  if (other != all.end())
    throw CaseFailure(
        fmt::format("{} differs between rank 0 and rank {}", name, other - all.begin()));
}

}  // namespace

void require_same_on_all_ranks(const Communicator& world, BatchNormalization& layer,
                               const BatchNormalizationTape& tape) {
  for (const Variable* variable : layer.variables())
    require_same(world, variable->name(), values_of(variable->value()));
  require_same(world, "batch_mean", {tape.batch_mean().begin(), tape.batch_mean().end()});
  require_same(world, "batch_variance",
               {tape.batch_variance().begin(), tape.batch_variance().end()});
}

}  // namespace lockstep::conformance

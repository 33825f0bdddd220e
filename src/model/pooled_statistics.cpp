#include "model/pooled_statistics.hpp"

#include "base/bytes.hpp"
#include "comm/failure.hpp"
#include "model/normalizations.hpp"

namespace lockstep {

PooledStatistics::PooledStatistics(Sequential& model) {
  std::vector<BatchNormalization*> layers = normalizations_of(model);
  std::erase_if(layers, [](const BatchNormalization* layer) { return !layer->learns_apart(); });
  auto failure = attempt([&] {
    for (BatchNormalization* layer : layers)
      for (Variable* variable : layer->variables())
        if (variable->role() != VariableRole::parameter)
          kept_.values.emplace_back(variable, Tensor::copy_of(variable->value()));
  });
  if (failure) kept_.values.clear();
  for (BatchNormalization* layer : layers) layer->pool_statistics(std::exchange(failure, {}));
}

PooledStatistics::Kept::~Kept() {
  for (auto& [variable, value] : values) copy_bytes(value, variable->value());
}

}  // namespace lockstep

#include "model/pooled_statistics.hpp"

#include <cstring>

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
  for (auto& [variable, value] : values) {
    const MutableTensorView now = variable->value();
    std::memcpy(now.data(), value.data(),
                static_cast<std::size_t>(value.num_elements()) * size_of(value.dtype()));
  }
}

}  // namespace lockstep

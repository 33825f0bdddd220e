#include "lockstep/kernels/activation_function.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>

#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

// In the order of the enumeration.
constexpr std::array<std::string_view, 9> names{"linear",  "relu", "relu6", "leaky_relu", "elu",
                                                "sigmoid", "tanh", "gelu",  "silu"};

}  // namespace

std::string_view name_of(ActivationFunction function) noexcept {
  const auto index = static_cast<std::size_t>(function);
  return index < names.size() ? names[index] : "unknown";
}

ActivationFunction activation_function_of(std::string_view name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end())
    throw ArgumentError(fmt::format("there is no activation function '{}'; known are: {}", name,
                                    fmt::join(names, ", ")));
  return static_cast<ActivationFunction>(found - names.begin());
}

}  // namespace lockstep

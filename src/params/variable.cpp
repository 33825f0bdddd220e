#include "lockstep/params/variable.hpp"

#include <spdlog/fmt/fmt.h>

#include <cstring>
#include <utility>

#include "base/convert.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {

Variable::Variable(std::string name, Tensor value, VariableRole role)
    : name_(std::move(name)),
      value_(std::move(value)),
      gradient_(role == VariableRole::parameter ? Tensor(value_.shape(), value_.dtype())
                                                : Tensor()),
      role_(role),
      is_trainable_(role == VariableRole::parameter) {}

void Variable::assign(const TensorView& source) {
  source.check(name_.c_str());
  if (source.shape() != shape())
    throw ArgumentError(fmt::format("variable '{}' has the shape {}; values of shape {} were given",
                                    name_, to_string(shape()), to_string(source.shape())));
  if (source.dtype() == dtype()) {
    if (num_elements() > 0)
      std::memmove(value_.data(), source.data(),
                   static_cast<std::size_t>(num_elements()) * size_of(dtype()));
    return;
  }
  if (!is_floating(source.dtype()) || !is_floating(dtype()))
    throw ArgumentError(fmt::format("variable '{}' holds {}; values of {} were given", name_,
                                    name_of(dtype()), name_of(source.dtype())));
  convert(source, value_);
}

}  // namespace lockstep

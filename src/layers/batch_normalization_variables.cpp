// The variables that a layer of batch normalization makes.

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>

#include "base/convert.hpp"
#include "kernels/kernel_environment.hpp"
#include "layers/batch_normalization_parts.hpp"
#include "lockstep/layers/batch_normalization.hpp"

namespace lockstep {
namespace {

// Extents of the channel axes, and 1 elsewhere; for one channel axis its extent alone.
Shape parameter_shape_of(const Shape& input_shape, const std::vector<int>& axes) {
  if (axes.size() == 1) return Shape{input_shape[axes.front()]};
  Shape shape = input_shape;
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (std::ranges::find(axes, axis) == axes.end()) shape = shape.with(axis, 1);
  return shape;
}

// True where elements of other axes lie between those of the channels.
bool lie_apart(const Shape& input_shape, const std::vector<int>& axes) {
  int last = -1;
  for (const int axis : axes) {
    if (input_shape[axis] == 1) continue;
    if (last >= 0 && axis != last + 1) return true;
    last = axis;
  }
  return false;
}

}  // namespace

void BatchNormalization::do_create(const Shape& input_shape) {
  check_kernel_environment();
  validate(options_, input_shape);
  auto parts = std::make_unique<Parts>();
  parts->axes = channel_axes_of(options_, input_shape);
  parts->activation = {options_.activation, options_.negative_slope};
  const Shape shape = parameter_shape_of(input_shape, parts->axes);
  parts->num_channels = static_cast<std::size_t>(shape.num_elements());
  const auto add = [&](const char* name, const Initializer& initializer, VariableRole role) {
    return &add_variable(name, shape, initializer, role);
  };
  const auto add_parameter = [&](const char* name, const Initializer& initializer,
                                 const Regularizer& regularizer, const Constraint& constraint) {
    Variable* const parameter = add(name, initializer, VariableRole::parameter);
    penalize(*parameter, regularizer, constraint);
    return parameter;
  };
  if (options_.scale)
    parts->gamma = add_parameter("gamma", options_.gamma_initializer, options_.gamma_regularizer,
                                 options_.gamma_constraint);
  if (options_.center)
    parts->beta = add_parameter("beta", options_.beta_initializer, options_.beta_regularizer,
                                options_.beta_constraint);
  if (options_.track_moving_statistics)
    parts->moving = std::make_shared<MovingStatistics>(options_, create_moving(shape));
  parts->shift = add("shift", Zeros{}, VariableRole::state);
  if (parts->moving != nullptr && !reuses_variables())
    parts->shift->assign(parts->moving->variables().mean->value());
  if (options_.statistics == Statistics::exact) create_grids(*parts);
  parts->prepare(options_);
  const Communicator alone;
  parts->own_forward = parts->make_exchange(Pass::forward, name(), alone);
  parts->own_backward.emplace(alone, fmt::format("layer '{}'", name()), "backward",
                              parts->own_gradient_sums.length(parts->num_channels));
  if (options_.updates == Updates::deferred) set_update_source(parts->moving);
  parts->is_fused = runs_fused(options_, input_shape);
  parts->is_irregular =
      options_.statistics == Statistics::exact && lie_apart(input_shape, parts->axes);
  parts_ = std::move(parts);
}

// The exponents of grids, [sums, channels].
void BatchNormalization::create_grids(Parts& parts) {
  const auto add = [&](const char* name, std::size_t num_exponents) {
    const auto num_channels = static_cast<std::int64_t>(parts.num_channels);
    const Shape shape{static_cast<std::int64_t>(num_exponents) / num_channels, num_channels};
    return &add_variable(name, Tensor(shape, DType::int64), VariableRole::state);
  };
  parts.grid = add("grid", IntegerSums::num_exponents(parts.num_channels));
  parts.gradient_grid =
      add("gradient_grid", IntegerGradientSums::num_exponents(parts.num_channels));
  if (reuses_variables()) return;
  IntegerSums::set_first_exponents(*parts.grid);
  IntegerGradientSums::set_first_exponents(*parts.gradient_grid);
}

void BatchNormalization::end_with(const FinalActivation& activation) {
  parts_->activation = activation;
}

MovingVariables BatchNormalization::create_moving(const Shape& shape) {
  const auto add = [&](const char* name, const Initializer& initializer) {
    return &add_variable(name, shape, initializer, VariableRole::statistic);
  };
  const auto add_state = [&](const char* name, const Shape& of, DType dtype) {
    return &add_variable(name, Tensor(of, dtype), VariableRole::state);
  };
  MovingVariables moving;
  moving.mean = add("moving_mean", options_.moving_mean_initializer);
  moving.variance = add("moving_variance", options_.moving_variance_initializer);
  std::vector<double> values(static_cast<std::size_t>(shape.num_elements()));
  read_as_double(moving.variance->value(), values);
  for (double& variance : values) {
    if (!(variance >= 0.0))
      throw ArgumentError(
          fmt::format("moving_variance_initializer gives {}; a variance is >= 0", variance));
    variance = std::sqrt(variance);
  }
  const DType dtype = moving.mean->dtype();
  if (options_.zero_debias_moving_mean) {
    moving.biased_mean = add_state("moving_mean/biased", shape, dtype);
    moving.local_step = add_state("moving_mean/local_step", {}, dtype);
  }
  if (options_.renorm) {
    moving.stddev = add("moving_stddev", Zeros{});
    moving.renorm_mean = add("renorm_mean", Zeros{});
    moving.renorm_stddev = add("renorm_stddev", Zeros{});
  }
  if (options_.renorm && !reuses_variables()) {
    moving.renorm_mean->assign(moving.mean->value());
    write_from_double(values, moving.stddev->value());
    write_from_double(values, moving.renorm_stddev->value());
  }
  moving.num_updates = add_state("num_updates", {}, DType::int64);
  moving.num_elements = add_state("num_elements", shape, DType::float64);
  return moving;
}

}  // namespace lockstep

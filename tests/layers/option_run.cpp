// How a layer with some features trains: its inputs, its calls, its updates.

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/convert.hpp"
#include "base/random.hpp"
#include "layers/batch_normalization_parts.hpp"
#include "layers/option_cases.hpp"
#include "lockstep/comm/collectives.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/mpi.hpp"

namespace lockstep::testing {
namespace {

Tensor to_dtype(const Tensor& tensor, DType dtype) {
  Tensor result(tensor.shape(), dtype);
  convert(tensor, result);
  return result;
}

// About another mean for every position along the last axis.
Tensor inputs_of(const Shape& shape, std::uint64_t step) {
  Tensor x = random_tensor(shape, 100 + step);
  const auto period = static_cast<std::size_t>(shape[shape.rank() - 1]);
  const auto values = x.values<double>();
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = 1.7 * values[i] + 2.0 + 0.5 * static_cast<double>(i % period);
  return x;
}

Tensor weights_of(std::int64_t num_samples) {
  Tensor weights({num_samples}, DType::float64);
  for (std::int64_t n = 0; n < num_samples; ++n)
    weights.values<double>()[static_cast<std::size_t>(n)] =
        n % 4 == 1 ? 0.0 : 0.3 + RandomKey(7).uniform(static_cast<std::uint64_t>(n));
  return weights;
}

// The same for every four samples.
Tensor mask_of(const Shape& shape, int rank) {
  Tensor mask(Shape(std::span(shape.begin(), static_cast<std::size_t>(rank))), DType::boolean);
  const auto period = static_cast<std::uint64_t>(
      4 * std::max<std::int64_t>(mask.shape().with(0, 1).num_elements(), 1));
  std::uint64_t i = 0;
  for (bool& value : mask.values<bool>()) {
    value = rank == 1 ? i % period != 2 : RandomKey(5).uniform(i % period) > 0.25;
    ++i;
  }
  return mask;
}

Tensor rows(const Tensor& tensor, const Part& part) {
  return Tensor::copy_of(TensorView(tensor).rows(part.first(), part.count()));
}

Tensor spread(Tensor tensor, double middle) {
  for (double& value : tensor.values<double>()) value = middle + 0.5 * value;
  return tensor;
}

// With extent 1 along the axes that are no channel axes.
Shape channel_shape_of(const UseCase& use_case) {
  const std::vector<int> axes = use_case.axes();
  Shape shape = use_case.shape;
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (std::ranges::find(axes, axis) == axes.end()) shape = shape.with(axis, 1);
  return shape;
}

// Where every rank adjusts in its own way, whoever has the rows of all has one way per sample.
Tensor of_ranks(const Shape& channel_shape, const Part& part, std::uint64_t seed) {
  const auto of_rank = [&](int rank) {
    return random_tensor(channel_shape, seed + static_cast<std::uint64_t>(rank));
  };
  if (part.rank) return of_rank(*part.rank);
  std::vector<double> values;
  for (std::size_t rank = 0; rank < part.cut.size(); ++rank) {
    const std::vector<double> of_sample = doubles_of(of_rank(static_cast<int>(rank)));
    for (std::int64_t n = 0; n < part.cut[rank]; ++n)
      values.insert(values.end(), of_sample.begin(), of_sample.end());
  }
  return Tensor::of(std::span<const double>(values), channel_shape.with(0, part.count()));
}

AdjustmentFunction adjustment_of(const UseCase& use_case, const Part& part) {
  const Shape channel_shape = channel_shape_of(use_case);
  const auto tensor = [=, kind = use_case.adjustment, shape = use_case.shape](std::uint64_t seed) {
    if (kind == AdjustmentKind::per_channel) return random_tensor(channel_shape, seed);
    if (kind == AdjustmentKind::per_rank) return of_ranks(channel_shape, part, seed);
    return rows(random_tensor(shape, seed), part);
  };
  if (use_case.adjustment == AdjustmentKind::none) return {};
  return [tensor](const Shape&) {
    return Adjustment{spread(tensor(40), 1.0), spread(tensor(60), 0.0)};
  };
}

BatchNormalizationOptions options_of(const UseCase& use_case, const Part& part,
                                     const Communicator& replicas) {
  BatchNormalizationOptions options = use_case.options;
  options.adjustment = adjustment_of(use_case, part);
  if (std::holds_alternative<ByColor>(options.synchronization_group))
    options.synchronization_group = ByColor{replicas.rank() % 2};
  return options;
}

}  // namespace

std::vector<int> UseCase::axes() const { return channel_axes_of(options, shape); }

std::int64_t UseCase::num_channels() const {
  std::int64_t product = 1;
  for (const int axis : axes()) product *= shape[axis];
  return product;
}

std::int64_t Part::first() const { return rank ? first_of(cut, *rank) : 0; }

std::int64_t Part::count() const {
  if (rank) return cut[static_cast<std::size_t>(*rank)];
  return std::accumulate(cut.begin(), cut.end(), std::int64_t{0});
}

Part even_part(const Communicator& replicas, std::int64_t count) {
  return {std::vector<std::int64_t>(static_cast<std::size_t>(replicas.size()), count),
          replicas.rank()};
}

OptionRun::OptionRun(const UseCase& chosen, Part rows_of_batch, const Communicator& replicas)
    : use_case(chosen), part(std::move(rows_of_batch)), layer(options_of(chosen, part, replicas)) {
  layer.build(use_case.shape.with(0, part.count()), replicas);
  load(0);
}

void OptionRun::load(std::uint64_t step) {
  const DType dtype = layer.dtype();
  const Shape& shape = use_case.shape;
  x = to_dtype(rows(inputs_of(shape, step), part), dtype);
  dy = to_dtype(rows(random_tensor(shape, 200 + step), part), dtype);
  if (use_case.has_weights) weights = rows(weights_of(shape[0]), part);
  if (use_case.mask_rank > 0) mask = rows(mask_of(shape, use_case.mask_rank), part);
  if (use_case.has_residual) {
    residual = to_dtype(rows(random_tensor(shape, 300 + step), part), dtype);
    residual_gradient.resize(x.shape(), dtype);
  }
  y.resize(x.shape(), dtype);
  dx.resize(x.shape(), dtype);
}

Call OptionRun::call(Commit commit) {
  Call call{.mode = Mode::training, .tape = &tape, .commit = commit};
  if (use_case.has_weights) call.batch_weights = weights;
  if (use_case.mask_rank > 0) call.mask = mask;
  if (use_case.has_residual) call.residual = residual;
  return call;
}

void OptionRun::forward(Commit commit) { layer.forward(x, y, call(commit)); }

void OptionRun::backward() {
  MutableTensorView of_residual;
  if (use_case.has_residual) of_residual = residual_gradient;
  layer.backward(tape, dy, dx, of_residual);
}

void OptionRun::update(const Communicator& replicas) {
  constexpr double learning_rate = 0.01;
  for (Variable* variable : layer.variables()) {
    if (variable->role() != VariableRole::parameter) continue;
    std::vector<double> gradient = doubles_of(variable->grad());
    if (variable->gradient_scope() == GradientScope::local)
      allreduce(replicas, gradient, Reduction::sum);
    write_from_double(gradient, variable->grad());
    if (!variable->is_trainable()) continue;
    add_regularization_gradient(*variable);
    std::vector<double> values = doubles_of(variable->value());
    gradient = doubles_of(variable->grad());
    for (std::size_t i = 0; i < values.size(); ++i) values[i] -= learning_rate * gradient[i];
    write_from_double(values, variable->value());
    apply_constraint(*variable);
  }
  layer.apply_updates();
}

void OptionRun::train(std::uint64_t step, const Communicator& replicas) {
  load(step);
  forward();
  backward();
  update(replicas);
}

OptionRun synchronized_run(const std::vector<std::string>& names, const Communicator& replicas) {
  UseCase use_case = use_case_of(names);
  use_case.options.synchronized |= !use_case.options.fused.value_or(false);
  const Part part = even_part(replicas, 4);
  use_case.shape = use_case.shape.with(0, Part{part.cut}.count());
  return {use_case, part, replicas};
}

std::vector<std::size_t> channels_of(const OptionRun& run) {
  const std::vector<int> axes = run.use_case.axes();
  const Shape& shape = run.x.shape();
  std::vector<std::size_t> channels;
  for (std::int64_t i = 0; i < shape.num_elements(); ++i) {
    std::int64_t channel = 0, rest = i, stride = shape.num_elements();
    for (int axis = 0; axis < shape.rank(); ++axis) {
      stride /= shape[axis];
      if (std::ranges::find(axes, axis) != axes.end())
        channel = channel * shape[axis] + rest / stride;
      rest %= stride;
    }
    channels.push_back(static_cast<std::size_t>(channel));
  }
  return channels;
}

std::vector<double> doubles_of(const TensorView& tensor) {
  std::vector<double> values(static_cast<std::size_t>(tensor.num_elements()));
  read_as_double(tensor, values);
  return values;
}

std::vector<double> state_of(BatchNormalization& layer) {
  std::vector<double> all;
  for (const Variable* variable : layer.variables()) {
    if (variable->dtype() == DType::int64) {
      const auto values = variable->value().values<std::int64_t>();
      all.insert(all.end(), values.begin(), values.end());
    } else {
      const auto values = doubles_of(variable->value());
      all.insert(all.end(), values.begin(), values.end());
    }
  }
  return all;
}

}  // namespace lockstep::testing

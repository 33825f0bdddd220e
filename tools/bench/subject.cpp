#include "bench/subject.hpp"

#include <array>
#include <vector>

#include "lockstep/base/tensor.hpp"
#include "lockstep/comm/collectives.hpp"

namespace ls = lockstep;

namespace {

const ls::Communicator solo;

ls::BatchNormalizationOptions layer_options(const Workload& workload, const SubjectOptions& options,
                                            const Problem& problem) {
  return {.axis = workload.channel_axis(),
          .momentum = problem.momentum,
          .epsilon = problem.epsilon,
          .activation =
              options.has_relu ? ls::ActivationFunction::relu : ls::ActivationFunction::linear,
          .statistics = options.statistics,
          .channel_group_bytes = options.channel_group_bytes,
          .synchronized = options.is_synchronized,
          .dtype = workload.dtype};
}

void assign(ls::Variable& variable, double (*value_of)(std::int64_t)) {
  std::vector<double> values;
  for (std::int64_t channel = 0; channel < variable.num_elements(); ++channel)
    values.push_back(value_of(channel));
  variable.assign(ls::view(values, variable.shape()));
}

}  // namespace

Subject::Subject(const Workload& workload, const SubjectOptions& options, Buffers& buffers,
                 const ls::Communicator& world)
    : problem_{.workload = workload,
               .buffers = &buffers,
               .group = options.is_synchronized ? &world : &solo,
               .has_relu = options.has_relu,
               .has_residual = options.has_residual},
      buffers_(&buffers),
      layer_(layer_options(workload, options, problem_)) {
  layer_.build(workload.tensor_shape(), *problem_.group);
  assign(layer_.gamma(), [](std::int64_t channel) { return gamma_of(channel); });
  assign(layer_.beta(), [](std::int64_t channel) { return beta_of(channel); });
  if (!options.has_residual) return;
  residual_ = buffers.residual.view();
  residual_gradient_ = buffers.y.view();
}

void Subject::forward() {
  layer_.forward(buffers_->x.view(), buffers_->y.view(),
                 {.mode = ls::Mode::training, .tape = &tape_, .residual = residual_});
}

void Subject::backward() {
  layer_.backward(tape_, buffers_->dy.view(), buffers_->dx.view(), residual_gradient_);
}

void Subject::infer() {
  layer_.forward(buffers_->x.view(), buffers_->y.view(),
                 {.mode = ls::Mode::inference, .residual = residual_});
}

Subject::Wrong Subject::check(const ls::Communicator& world) {
  const Reference reference(problem_);
  const ls::TensorView moving_mean = layer_.moving_mean().value();
  const ls::TensorView moving_variance = layer_.moving_variance().value();
  std::array<std::int64_t, 3> wrong{};
  forward();
  wrong[0] =
      reference.num_wrong_outputs() + reference.num_wrong_moving(moving_mean, moving_variance);
  backward();
  wrong[1] = reference.num_wrong_gradients(layer_.gamma().grad(), layer_.beta().grad());
  infer();
  if (!problem_.has_relu && !problem_.has_residual)
    wrong[2] = reference.num_wrong_inference(moving_mean, moving_variance);
  ls::allreduce(world, wrong, ls::Reduction::sum);
  return {wrong[0], wrong[1], wrong[2]};
}

// Gradients of every option, and of every pair of options, are those of finite differences.

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "kernels/activation.hpp"
#include "layers/option_cases.hpp"
#include "lockstep/comm/collectives.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

constexpr double tolerance = 1e-6;
constexpr double step_size = 1e-5;

// Uneven, and multiples of the size of ghost batches.
Part part_of(const Communicator& world) {
  constexpr std::array<std::int64_t, 3> counts{4, 2, 6};
  std::vector<std::int64_t> cut;
  for (std::size_t rank = 0; rank < static_cast<std::size_t>(world.size()); ++rank)
    cut.push_back(counts[rank % counts.size()]);
  return {cut, world.rank()};
}

UseCase small(const std::vector<std::string>& names, const Communicator& world) {
  UseCase use_case = use_case_of(names);
  const Part all{part_of(world).cut};
  use_case.shape = {all.count(), 2, 1, 3};
  return use_case;
}

double sum_over(const Communicator& world, double value) {
  allreduce(world, {&value, 1}, Reduction::sum);
  return value;
}

std::vector<double> random_direction(std::size_t size, std::uint64_t seed) {
  return doubles_of(random_tensor({static_cast<std::int64_t>(size)}, seed));
}

double product_of(std::span<const double> a, std::span<const double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// One layer on all ranks and its loss, the sum of dy * y over them.
struct Problem {
  const Communicator& world;
  OptionRun run;
  std::vector<double> r, d;  // of batch renormalization in the call whose gradients are judged

  Problem(const UseCase& use_case, const Communicator& ranks)
      : world(ranks), run(use_case, part_of(ranks), ranks) {
    avoid_kinks();
    run.forward(Commit::by_caller);
    hold();
    run.forward(Commit::by_caller);
    run.backward();
  }

  // Chooses a batch none of whose values is near a kink of the activation.
  void avoid_kinks() {
    if (is_linear(run.use_case.options.activation)) return;
    UseCase linear = run.use_case;
    linear.options.activation = ActivationFunction::linear;
    OptionRun before(linear, run.part, world);
    for (std::uint64_t batch = 1;; ++batch) {
      before.load(batch);
      before.forward(Commit::by_caller);
      const auto values = before.y.values<double>();
      const bool is_free = std::ranges::none_of(values, [](double value) {
        return std::min(std::abs(value), std::abs(value - 6.0)) < 100.0 * step_size;
      });
      if (!all_ranks(world, is_free)) continue;
      return run.load(batch);
    }
  }

  bool has_renorm() const { return run.use_case.options.renorm && !run.tape.batch_mean().empty(); }

  // r and d are constants to gradients: the moving moments follow the batch so that they stay.
  void hold() {
    const BatchNormalizationOptions& options = run.use_case.options;
    if (!has_renorm() || options.renorm_clipping != RenormClipping{}) return;
    const auto mean = run.tape.batch_mean(), variance = run.tape.batch_variance();
    const bool is_first = r.empty();
    auto renorm_mean = run.layer.variable("renorm_mean").value().values<double>();
    auto renorm_stddev = run.layer.variable("renorm_stddev").value().values<double>();
    for (std::size_t c = 0; c < mean.size(); ++c) {
      const double stddev = std::sqrt(variance[c] + options.epsilon);
      if (is_first) {
        r.push_back(stddev / renorm_stddev[c]);
        d.push_back((mean[c] - renorm_mean[c]) / renorm_stddev[c]);
      }
      renorm_stddev[c] = stddev / r[c];
      renorm_mean[c] = mean[c] - d[c] * renorm_stddev[c];
    }
  }

  double loss() {
    run.forward(Commit::by_caller);
    if (!r.empty()) {
      hold();
      run.forward(Commit::by_caller);
    }
    return sum_over(world, inner_product_of(run.dy, run.y));
  }

  // The derivative of the loss where every rank's `values` move along its `direction`.
  double difference(std::span<double> values, std::span<const double> direction) {
    const std::vector<double> middle(values.begin(), values.end());
    const auto loss_at = [&](double distance) {
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = middle[i] + distance * direction[i];
      return loss();
    };
    const double above = loss_at(step_size), below = loss_at(-step_size);
    std::ranges::copy(middle, values.begin());
    return (above - below) / (2.0 * step_size);
  }

  // The error along a random direction of values that every rank has for itself, relative to the
  // length of the gradient.
  double error_of(Tensor& values, const Tensor& gradient) {
    const auto g = gradient.values<double>();
    const auto direction = random_direction(g.size(), 7 + static_cast<std::uint64_t>(world.rank()));
    const double length = std::sqrt(sum_over(world, product_of(g, g)));
    const double expected = sum_over(world, product_of(g, direction));
    return std::abs(difference(values.values<double>(), direction) - expected) /
           std::max(length, 1e-3);
  }

  // The same for values of which all ranks have the same.
  double error_of(Variable& variable) {
    std::vector<double> g = doubles_of(variable.grad());
    if (variable.gradient_scope() == GradientScope::local) allreduce(world, g, Reduction::sum);
    const auto direction = random_direction(g.size(), 5);
    const double difference_along = difference(variable.value().values<double>(), direction);
    return std::abs(difference_along - product_of(g, direction)) /
           std::max(std::sqrt(product_of(g, g)), 1e-3);
  }

  bool are_gradients_right() {
    bool are_right = error_of(run.x, run.dx) < tolerance;
    if (run.use_case.has_residual)
      are_right &= error_of(run.residual, run.residual_gradient) < tolerance;
    for (const char* name : {"gamma", "beta"}) {
      const bool is_there = *name == 'g' ? run.use_case.options.scale : run.use_case.options.center;
      if (is_there) are_right &= error_of(run.layer.variable(name)) < tolerance;
    }
    return are_right;
  }

  // Element by element, each moved on the rank that has it.
  double worst_element_error() {
    const std::vector<double> gradient = doubles_of(run.dx);
    double worst = 0.0, scale = 1e-3;
    for (int owner = 0; owner < world.size(); ++owner) {
      const std::int64_t count = run.part.cut[static_cast<std::size_t>(owner)] *
                                 run.use_case.shape.without_first().num_elements();
      for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
        std::vector<double> direction(run.x.values<double>().size());
        if (owner == world.rank()) direction[i] = 1.0;
        const double slope = difference(run.x.values<double>(), direction);
        if (owner == world.rank()) worst = std::max(worst, std::abs(slope - gradient[i]));
        scale = std::max(scale, std::abs(slope));
      }
    }
    return worst / scale;
  }
};

bool has_gradient(const Feature& feature) { return feature.option != "dtype"; }

}  // namespace

TEST_CASE("every element's gradient is that of finite differences, with every option", "[layers]") {
  const Communicator world = Communicator::world();
  for (const Feature& feature : features()) {
    if (!has_gradient(feature)) continue;
    Problem problem(small({feature.name}, world), world);
    const double error = problem.worst_element_error();
    INFO(feature.name << ": " << error);
    REQUIRE_ON_ALL_RANKS(world, error < tolerance);
  }
}

TEST_CASE("gradients are those of finite differences, with every option", "[layers]") {
  const Communicator world = Communicator::world();
  for (const Feature& feature : features()) {
    if (!has_gradient(feature)) continue;
    Problem problem(small({feature.name}, world), world);
    INFO(feature.name);
    REQUIRE_ON_ALL_RANKS(world, problem.are_gradients_right());
  }
}

TEST_CASE("gradients are those of finite differences, with every pair of options", "[layers]") {
  const Communicator world = Communicator::world();
  for_each_allowed_pair([&](const Feature& a, const Feature& b) {
    if (!has_gradient(a) || !has_gradient(b)) return;
    Problem problem(small({a.name, b.name}, world), world);
    INFO(a.name << " and " << b.name);
    REQUIRE_ON_ALL_RANKS(world, problem.are_gradients_right());
  });
}

// Gradients of all ranks in one message.

#include "parallel/gradient_exchange.hpp"

#include <vector>

#include "support/catch.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

Variable parameter(const char* name, double gradient) {
  Variable variable(name, Tensor(Shape{2}, DType::float32), VariableRole::parameter);
  for (float& value : variable.grad().values<float>()) value = static_cast<float>(gradient);
  return variable;
}

bool has_gradient(const Variable& variable, double expected) {
  return std::ranges::all_of(variable.grad().values<float>(),
                             [&](float value) { return value == static_cast<float>(expected); });
}

}  // namespace

TEST_CASE("local gradients are summed, global ones are not, frozen ones stay", "[parallel]") {
  const Communicator world = Communicator::world();
  const double rank = world.rank();
  const double ranks_sum = world.size() * (world.size() - 1) / 2.0;
  Variable local = parameter("a/local", rank);
  Variable global = parameter("a/global", 6.0);
  global.set_gradient_scope(GradientScope::global);
  Variable frozen = parameter("a/frozen", 5.0 + rank);
  frozen.set_trainable(false);
  Variable statistic("a/statistic", Tensor(Shape{3}), VariableRole::statistic);
  const std::vector<Variable*> variables{&local, &statistic, &global, &frozen};

  GradientExchange gradients(world, variables, 1);
  const std::int64_t before = num_collectives();
  for (int step = 0; step < 2; ++step) {
    for (float& value : local.grad().values<float>()) value = static_cast<float>(rank);
    for (float& value : global.grad().values<float>()) value = 6.0F;
    gradients.sums()[0] = 1.0;
    gradients.merge(step);
    REQUIRE_ON_ALL_RANKS(world, gradients.sums()[0] == world.size());
    gradients.finish(2.0);
    REQUIRE_ON_ALL_RANKS(world, has_gradient(local, ranks_sum / 2.0));
    REQUIRE_ON_ALL_RANKS(world, has_gradient(global, 3.0));
    REQUIRE_ON_ALL_RANKS(world, has_gradient(frozen, 5.0 + rank));
  }
  // One message per merge; the others are those of REQUIRE_ON_ALL_RANKS.
  const std::int64_t num_checks = 2 * 4;
  const std::int64_t expected = world.is_solo() ? 0 : 2 + num_checks;
  REQUIRE_ON_ALL_RANKS(world, num_collectives() - before == expected);
}

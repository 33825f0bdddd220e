// Moving statistics of a model are replaced in all layers, or in none.

#include "lockstep/model/replace_moving_statistics.hpp"

#include <vector>

#include "lockstep/layers/dense.hpp"
#include "lockstep/params/variable_scope.hpp"
#include "lockstep/params/variable_store.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

const Strategy& strategy() {
  static const Strategy world{Communicator::world()};
  return world;
}
const Communicator& world() { return strategy().replicas(); }

Sequential model() {
  Sequential result({.dtype = DType::float64, .name = "net"}, strategy());
  result.add(BatchNormalization({.synchronized = true, .name = "first"}));
  result.add(Dense({.units = 2, .name = "dense"}));
  result.add(BatchNormalization({.name = "second"}));
  result.build({1, 3});
  return result;
}

const LayerPopulation first{"first", {4.0, 4.0, 4.0}, {1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}};
const LayerPopulation second{"second", {4.0, 4.0}, {7.0, 8.0}, {9.0, 10.0}};

}  // namespace

TEST_CASE("the layers of the statistics get theirs, in any order, and others keep theirs") {
  for (const PopulationStatistics& statistics :
       {PopulationStatistics{}, {first}, {second}, {first, second}, {second, first}}) {
    Sequential net = model();
    const std::vector<double> before = values_of(net.variables());
    replace_moving_statistics(net, statistics);
    for (const LayerPopulation* each : {&first, &second}) {
      const bool is_given = std::ranges::count(statistics, *each) > 0;
      const std::vector<double> mean = values_of(net.variable(each->layer + "/moving_mean"));
      REQUIRE_ON_ALL_RANKS(world(), (mean == each->mean) == is_given);
    }
    REQUIRE_ON_ALL_RANKS(world(), (values_of(net.variables()) == before) == statistics.empty());
  }
}

TEST_CASE("when one layer cannot take its statistics, or one rank fails, none changes") {
  const LayerPopulation unknown{"third", {1.0}, {1.0}, {1.0}};
  const LayerPopulation dense{"dense", {1.0, 1.0}, {1.0, 1.0}, {1.0, 1.0}};
  LayerPopulation small = second;
  small.variance.pop_back();
  const int guilty = world().size() - 1;
  for (const LayerPopulation& bad : {unknown, dense, small}) {
    Sequential net = model();
    const std::vector<double> before = values_of(net.variables());
    const Caught caught = caught_from([&] {
      const bool is_guilty = world().rank() == guilty;
      replace_moving_statistics(net, {first, is_guilty ? bad : second});
    });
    INFO(caught.what);
    REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::argument) && caught.rank() == guilty);
    REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
    REQUIRE_ON_ALL_RANKS(world(), caught.what.find("'" + bad.layer + "'") != std::string::npos);
    REQUIRE_ON_ALL_RANKS(world(), values_of(net.variables()) == before);
  }
}

TEST_CASE("ranks whose statistics differ are told so, and nothing changes") {
  if (world().is_solo()) return;
  Sequential net = model();
  const std::vector<double> before = values_of(net.variables());
  const Caught caught = caught_from([&] {
    replace_moving_statistics(net, world().rank() == 0 ? PopulationStatistics{first}
                                                       : PopulationStatistics{first, second});
  });
  REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
  REQUIRE_ON_ALL_RANKS(world(), values_of(net.variables()) == before);
}

TEST_CASE("statistics are found by the scope of the variables, whatever the layers are called") {
  const VariableStore store;
  const auto root = store.scope();
  Sequential net({.dtype = DType::float64}, strategy());
  for (const bool reuse : {false, true}) {
    const VariableScope scope({.name = "shared", .reuse = reuse});
    net.add(BatchNormalization());
  }
  net.build({1, 3});
  LayerPopulation shared = first;
  shared.layer = "shared/batch_normalization";
  replace_moving_statistics(net, {shared});
  REQUIRE_ON_ALL_RANKS(
      world(), values_of(net.variable("shared/batch_normalization/moving_mean")) == first.mean);
}

TEST_CASE("a model that is not built has no statistics to replace") {
  Sequential net({.name = "net"}, strategy());
  net.add(BatchNormalization());
  const Caught caught = caught_from([&] { replace_moving_statistics(net, {}); });
  CHECK(caught.is(ErrorCode::state));
  CHECK_THAT(caught.what, Catch::Contains("'net'") && Catch::Contains("build()"));
}

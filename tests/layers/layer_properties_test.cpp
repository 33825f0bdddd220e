// Ranks refuse to build layers that differ in any option, and hear which one it is.

#include "layers/layer_properties.hpp"

#include <string>

#include "layers/random_options.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"

namespace lockstep {
namespace {

using namespace testing;
using Catch::Contains;

bool is_last(const Communicator& group) { return group.rank() == group.size() - 1; }

// What agreeing on the layers, one per rank, throws.
Caught caught_from_agree(const Communicator& group, const Layer& layer) {
  return caught_from([&] {
    agree(group, {"model 'm'", "build"}, properties_of(layer, " of layer 'x'"));
  });
}

TEST_CASE("layer properties: a difference in any single option is refused by its name") {
  const Communicator world = Communicator::world();
  for_each_layer_type([&]<class L>(std::type_identity<L>) {
    Dice dice(1);  // alike on all ranks
    dice.allow_functions();
    for (const std::string& name : field_names_of<OptionsOf<L>>()) {
      const OptionsOf<L> options = dice.draw<OptionsOf<L>>();
      OptionsOf<L> other = with_other(options, name, dice);
      if constexpr (requires { other.synchronization_group; })
        if (name == "synchronization_group" &&
            std::holds_alternative<ByColor>(other.synchronization_group) &&
            std::holds_alternative<ByColor>(options.synchronization_group))
          other.synchronization_group = ByNode{};
      const L layer(is_last(world) ? other : options);
      INFO(name << ": " << layer.configuration());
      const Caught caught = caught_from_agree(world, layer);
      if (world.is_solo()) {
        CHECK(caught.type.empty());
        continue;
      }
      REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
      REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::mismatch));
      CHECK(caught.rank() == world.size() - 1);
      CHECK_THAT(caught.what, Contains("option " + name + " of layer 'x' differs"));
      CHECK(caught.what.size() < 600);
    }
  });
}

TEST_CASE("layer properties: equal options pass with one message") {
  const Communicator world = Communicator::world();
  for_each_layer_type([&]<class L>(std::type_identity<L>) {
    Dice dice(2);
    dice.allow_functions();
    const L layer(dice.draw<OptionsOf<L>>());
    const std::int64_t before = num_collectives();
    const Caught caught = caught_from_agree(world, layer);
    const std::int64_t count = num_collectives() - before;
    REQUIRE_ON_ALL_RANKS(world, caught.type.empty());
    REQUIRE_ON_ALL_RANKS(world, count == (world.is_solo() ? 0 : 1));
  });
}

TEST_CASE("layer properties: colors may differ by rank, kinds of groups may not") {
  const Communicator world = Communicator::world();
  const auto caught = [&](SynchronizationGroup group) {
    return caught_from_agree(
        world,
        BatchNormalization({.synchronized = true, .synchronization_group = std::move(group)}));
  };
  REQUIRE_ON_ALL_RANKS(world, caught(ByColor{world.rank()}).type.empty());
  if (world.is_solo()) return;
  const Caught kinds =
      caught(is_last(world) ? SynchronizationGroup(ByColor{0}) : SynchronizationGroup(ByNode{}));
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, kinds));
  CHECK_THAT(kinds.what,
             Contains(R"({"type":"by_node"}, rank)") && Contains(R"({"type":"by_color"}. All)"));
  const Caught sizes = caught(BySize{is_last(world) ? 1 : 2});
  REQUIRE_ON_ALL_RANKS(world, sizes.is(ErrorCode::mismatch));
}

TEST_CASE("layer properties: building a layer compares them") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  Dense layer({.units = 2, .bias_initializer = Constant{is_last(world) ? 0.1 : 0.2}});
  const Caught caught = caught_from([&] { layer.build({4, 3}, world); });
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  CHECK(caught.what ==
        R"(layer 'dense', build: option bias_initializer differs between ranks: rank 0 has )"
        R"({"type":"constant","value":0.2}, rank )" +
            std::to_string(world.size() - 1) +
            R"( has {"type":"constant","value":0.1}. All ranks must give the same)");
}

TEST_CASE("layer properties: layers of the same options and other types are told apart") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  std::unique_ptr<Layer> layer = std::make_unique<MaxPool2D>(Pool2DOptions{.name = "pool"});
  if (is_last(world)) layer = std::make_unique<AveragePool2D>(Pool2DOptions{.name = "pool"});
  const Caught caught = caught_from([&] { layer->build({1, 4, 4, 1}, world); });
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  CHECK_THAT(caught.what, Contains("rank 0 has MaxPool2D 'pool', rank ") &&
                              Contains("has AveragePool2D 'pool'"));
}

}  // namespace
}  // namespace lockstep

// Models of several ranks: built alike or not at all, failing together.

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "lockstep/base/error.hpp"
#include "lockstep/model/sequential.hpp"
#include "model/toy_layers.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;
using Catch::Matchers::Contains;

namespace {

const Call training{.mode = Mode::training, .commit = Commit::by_caller};

const Strategy& strategy() {
  static const Strategy world{Communicator::world()};
  return world;
}

const Communicator& ranks() { return strategy().replicas(); }
bool is_last() { return strategy().rank() == strategy().num_replicas() - 1; }

bool is_replicated(const TensorView& values) {
  const Tensor here = Tensor::copy_of(values);
  const std::span bytes(static_cast<const std::byte*>(here.data()),
                        static_cast<std::size_t>(here.num_elements()) * size_of(here.dtype()));
  return is_same_on_all_ranks(ranks(), bytes);
}

Caught caught_from_build(Sequential& model, const Shape& input_shape = {4, 3}) {
  return caught_from([&] { model.build(input_shape); });
}

}  // namespace

TEST_CASE("replicas are identical once built, whatever the ranks had before") {
  Sequential model({.seed = 3}, strategy());
  model.add(Scale({.input_shape = Shape{3}})).add(Twice()).add(Scale());
  std::vector<float> own(3, static_cast<float>(strategy().rank()) + 7.0F);
  model.variable("scale/factor").assign(view(std::as_const(own), {3}));
  model.build();
  for (const Variable* variable : model.variables()) {
    INFO(variable->name());
    REQUIRE_ON_ALL_RANKS(ranks(), is_replicated(variable->value()));
  }
  const auto values = std::as_const(model.variable("scale/factor")).value().values<float>();
  REQUIRE_ON_ALL_RANKS(ranks(), values[0] == 7.0F);
}

TEST_CASE("a good build is one allreduce and one broadcast per variable") {
  Sequential model({}, strategy());
  model.add(Scale()).add(Twice()).add(Scale());
  const auto allreduces = num_allreduces();
  const auto collectives = num_collectives();
  model.build({4, 3});
  const auto new_allreduces = num_allreduces() - allreduces;
  const auto new_collectives = num_collectives() - collectives;
  const std::int64_t is_parallel = ranks().is_solo() ? 0 : 1;
  REQUIRE_ON_ALL_RANKS(ranks(), new_allreduces == is_parallel);
  REQUIRE_ON_ALL_RANKS(ranks(), new_collectives == is_parallel * (1 + 6));
}

TEST_CASE("ranks that build different models are told where they differ") {
  const bool is_odd_one_out = is_last() && !ranks().is_solo();
  struct Difference {
    std::string named;
    std::function<Caught()> build;
  };
  const auto outcome = [](SequentialOptions options, std::vector<std::unique_ptr<Layer>> layers,
                          const Shape& input_shape = {4, 3}) {
    Sequential model(std::move(options), strategy());
    for (auto& layer : layers) model.add(std::move(layer));
    return caught_from_build(model, input_shape);
  };
  const auto scales = [](ScaleOptions second, int num_layers = 2) {
    std::vector<std::unique_ptr<Layer>> layers;
    layers.push_back(std::make_unique<Scale>());
    layers.push_back(std::make_unique<Scale>(std::move(second)));
    while (static_cast<int>(layers.size()) < num_layers)
      layers.push_back(std::make_unique<Twice>());
    return layers;
  };
  const std::vector<Difference> differences{
      {"constant(2)",
       [&] {
         const double value = is_odd_one_out ? 2.0 : 1.0;
         return outcome({}, scales({.initializer = Constant{value}}));
       }},
      {"layer 1", [&] { return outcome({}, scales({.name = is_odd_one_out ? "other" : "same"})); }},
      {"trainable", [&] { return outcome({}, scales({.trainable = !is_odd_one_out})); }},
      {"number of layers", [&] { return outcome({}, scales({}, is_odd_one_out ? 3 : 2)); }},
      {"seed", [&] { return outcome({.seed = is_odd_one_out ? 1U : 0U}, scales({})); }},
      {"float64",
       [&] {
         return outcome({.dtype = is_odd_one_out ? DType::float64 : DType::float32}, scales({}));
       }},
      {"sample shape",
       [&] {
         return outcome({}, scales({}), is_odd_one_out ? Shape{4, 5} : Shape{4, 3});
       }},
  };
  for (const Difference& difference : differences) {
    INFO(difference.named);
    const Caught found = difference.build();
    INFO(found.what);
    REQUIRE_ON_ALL_RANKS(ranks(), is_same_on_all_ranks(ranks(), found.what));
    if (ranks().is_solo()) {
      REQUIRE(found.type.empty());
      continue;
    }
    REQUIRE_ON_ALL_RANKS(ranks(), found.code == ErrorCode::mismatch);
    REQUIRE_ON_ALL_RANKS(ranks(), found.what.find(difference.named) != std::string::npos);
    REQUIRE_ON_ALL_RANKS(ranks(), found.rank() == strategy().num_replicas() - 1);
  }
}

TEST_CASE("ranks that are in different calls of a model and its layers are told so") {
  Sequential model({}, strategy());
  model.add(Scale());
  model.build({4, 3});
  const Caught caught = caught_from([&] {
    if (is_last())
      model.layer("scale").set_mode(Mode::training);
    else
      model.set_mode(Mode::training);
  });
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(ranks(), is_same_on_all_ranks(ranks(), caught.what));
  if (ranks().is_solo()) return;
  REQUIRE_ON_ALL_RANKS(ranks(), caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(ranks(), caught.what.find("layer 'scale'") != std::string::npos &&
                                    caught.what.find("model 'sequential'") != std::string::npos);
}

TEST_CASE("batches of different size make no difference") {
  Sequential model({}, strategy());
  model.add(Scale());
  model.build({strategy().rank(), 3});
  REQUIRE_ON_ALL_RANKS(ranks(), model.is_built());
}

TEST_CASE("a layer that one rank cannot make fails everywhere; the next build is a good one") {
  bool is_unlucky = is_last();
  Sequential model({}, strategy());
  model.add(Scale());
  model.add(Scale({.at_create = [&] {
    if (is_unlucky) throw DataError("no such table");
  }}));
  const Caught failed = caught_from_build(model);
  INFO(failed.what);
  REQUIRE_ON_ALL_RANKS(ranks(), is_same_on_all_ranks(ranks(), failed.what));
  REQUIRE_ON_ALL_RANKS(ranks(), failed.code == ErrorCode::data);
  REQUIRE_ON_ALL_RANKS(ranks(), failed.rank() == strategy().num_replicas() - 1);
  REQUIRE_THAT(failed.what, Contains("'scale_1'") && Contains("no such table"));
  REQUIRE_FALSE(model.is_built());

  const Caught refused = caught_from_build(model, {4, 5});
  INFO(refused.what);
  REQUIRE_ON_ALL_RANKS(ranks(), refused.code == ErrorCode::state);
  REQUIRE_ON_ALL_RANKS(ranks(), is_same_on_all_ranks(ranks(), refused.what));

  is_unlucky = false;
  const Caught good = caught_from_build(model);
  REQUIRE_ON_ALL_RANKS(ranks(), good.type.empty() && model.is_built());
  for (const Variable* variable : model.variables())
    REQUIRE_ON_ALL_RANKS(ranks(), is_replicated(variable->value()));
}

TEST_CASE("layers merge over all ranks, in the order of their appointments") {
  Sequential model({.dtype = DType::float64}, strategy());
  model.add(Census("low")).add(Scale()).add(Census("high"));
  model.build({1, 3});
  const std::int64_t size = strategy().rank() * 2;  // none on rank 0
  const Tensor x = random_tensor({size, 3}, 1);
  const std::int64_t is_parallel = ranks().is_solo() ? 0 : 1;
  const auto before = num_allreduces();
  model.forward(x, training);
  const auto between = num_allreduces();
  model.backward(Tensor({size, 3}, DType::float64));
  const auto after = num_allreduces();
  REQUIRE_ON_ALL_RANKS(ranks(), between - before == 2 * is_parallel);
  REQUIRE_ON_ALL_RANKS(ranks(), after - between == 2 * is_parallel);
  const double total = strategy().num_replicas() * (strategy().num_replicas() - 1);
  for (const char* name : {"low", "high"})
    REQUIRE_ON_ALL_RANKS(ranks(), dynamic_cast<Census&>(model.layer(name)).num_samples() == total);

  // A step that gives up at once keeps all four appointments with one failure, at the first.
  auto& low = dynamic_cast<Census&>(model.layer("low"));
  auto& high = dynamic_cast<Census&>(model.layer("high"));
  for (const Pass pass : {Pass::forward, Pass::backward}) {
    Schedule schedule;
    model.add_appointments(pass, schedule);
    const Caught failed =
        caught_from([&] { schedule.keep(-1, [] { throw StateError("giving up"); }); });
    REQUIRE_ON_ALL_RANKS(ranks(), failed.code == ErrorCode::state);
    const Census& first = pass == Pass::forward ? low : high;
    if (!ranks().is_solo()) REQUIRE_THAT(failed.what, Contains("'" + first.name() + "'"));
  }
}

TEST_CASE("a failure of one rank between merges is thrown on all; the model stays usable") {
  enum class Place { nowhere, forward, backward } place = Place::nowhere;
  Sequential model({.dtype = DType::float64}, strategy());
  model.add(Census());
  model.add(Scale({.at_forward = [&] {
    if (place == Place::forward && is_last()) throw DataError("out of luck");
  }}));
  model.add(Census());
  model.build({1, 3});
  const Tensor x = random_tensor({2, 3}, 1);
  const Tensor good({2, 3}, DType::float64);
  const Tensor bad({5, 3}, DType::float64);
  for (const Place where : {Place::forward, Place::backward, Place::nowhere}) {
    place = where;
    const Caught forward = caught_from([&] { model.forward(x, training); });
    INFO(forward.what);
    REQUIRE_ON_ALL_RANKS(ranks(), is_same_on_all_ranks(ranks(), forward.what));
    if (where == Place::forward) {
      REQUIRE_ON_ALL_RANKS(ranks(), forward.code == ErrorCode::data);
      REQUIRE_THAT(forward.what, Contains("'scale'") && Contains("out of luck"));
      model.commit();
      const auto seen = std::as_const(model.variable("scale/num_seen")).value().values<double>();
      REQUIRE_ON_ALL_RANKS(ranks(), seen[0] == 0.0);
      continue;
    }
    REQUIRE_ON_ALL_RANKS(ranks(), forward.type.empty());
    const bool is_bad = where == Place::backward && is_last();
    const Caught backward = caught_from([&] { model.backward(is_bad ? bad : good); });
    INFO(backward.what);
    REQUIRE_ON_ALL_RANKS(ranks(), is_same_on_all_ranks(ranks(), backward.what));
    if (where == Place::backward)
      REQUIRE_ON_ALL_RANKS(ranks(), backward.code == ErrorCode::argument);
    else
      REQUIRE_ON_ALL_RANKS(ranks(), backward.type.empty());
  }
}

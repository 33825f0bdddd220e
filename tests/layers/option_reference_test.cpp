// Every option and every pair of options compute what they are defined to.

#include "layers/option_reference.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

// Results are rounded once to the dtype; statistics of 16-bit layers are float32.
struct Tolerance {
  double output, statistics;
};
Tolerance tolerance_of(DType dtype) {
  if (dtype == DType::float64) return {1e-13, 1e-13};
  if (dtype == DType::float32) return {0x1p-23, 0x1p-22};
  return {dtype == DType::bfloat16 ? 0x1p-7 : 0x1p-10, 0x1p-22};
}

void check(const UseCase& use_case) {
  const Communicator solo;
  OptionRun run(use_case, {{use_case.shape[0]}}, solo);
  const auto [output, statistics] = tolerance_of(run.layer.dtype());
  for (std::uint64_t step = 1; step <= 3; ++step) {
    run.load(step);
    const Expected expected = expected_of(run);
    run.train(step, solo);
    CHECK(distance(doubles_of(run.y), expected.y) <= output);
    for (const auto& [name, values] : expected.statistics) {
      INFO(name);
      CHECK(distance(doubles_of(run.layer.variable(name).value()), values) <= statistics);
    }
  }
}

}  // namespace

TEST_CASE("every option computes what it is defined to", "[layers]") {
  for (const Feature& feature : features()) {
    INFO(feature.name);
    check(use_case_of({feature.name}));
  }
}

TEST_CASE("every pair of options computes what it is defined to", "[layers]") {
  for_each_allowed_pair([](const Feature& a, const Feature& b) {
    INFO(a.name << " and " << b.name);
    check(use_case_of({a.name, b.name}));
  });
}

TEST_CASE("every option computes what it is defined to for inputs of any rank", "[layers]") {
  for (const Shape& shape : {Shape{12, 4}, Shape{12, 3, 4}, Shape{12, 2, 1, 3, 2}})
    for (const Feature& feature : features()) {
      if (feature.option == "axis" || feature.name == "position mask" || feature.name == "fused")
        continue;
      UseCase use_case = use_case_of({feature.name});
      use_case.shape = shape;
      INFO(feature.name << " for " << to_string(shape));
      check(use_case);
    }
}

TEST_CASE("every option computes what it is defined to where samples are channels", "[layers]") {
  for (const Axes& axes : {Axes(0), Axes{0, 2}})
    for (const Feature& feature : features()) {
      if (feature.option == "axis" || feature.option == "ghosts" || feature.option == "fused")
        continue;
      UseCase use_case = use_case_of({feature.name});
      use_case.options.axis = axes;
      INFO(feature.name << " along " << axes.values().size() << " axes");
      check(use_case);
    }
}

TEST_CASE("renormalization never divides by less than the root of epsilon", "[layers]") {
  UseCase use_case = use_case_of({"renorm"});
  use_case.options.moving_variance_initializer = Zeros{};
  use_case.options.renorm_momentum = 1.0;
  check(use_case);
}

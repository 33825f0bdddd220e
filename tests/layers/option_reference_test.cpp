// Every option and every pair of options compute what they are defined to.

#include "layers/option_reference.hpp"

#include "base/convert.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

// Results of 64 and 16 bits are as good as rounded once; y = (x - center) * scale + shift in
// float32 is five roundings. Statistics of 16-bit layers are float32.
struct Tolerance {
  double output, statistics;
};
Tolerance tolerance_of(DType dtype) {
  if (dtype == DType::float64) return {1e-13, 1e-13};
  if (dtype == DType::float32) return {5 * 0x1p-24, 0x1p-22};
  return {dtype == DType::bfloat16 ? 0x1p-7 : 0x1p-10, 0x1p-22};
}

// Trains on batches about `mean`, the second one about its negative.
void check(const UseCase& use_case, double mean, const Tolerance& tolerance) {
  const Communicator solo;
  OptionRun run(use_case, {{use_case.shape[0]}}, solo);
  for (std::uint64_t step = 1; step <= 3; ++step) {
    run.load(step);
    std::vector<double> x = doubles_of(run.x);
    for (double& value : x) value += step == 2 ? -mean : mean;
    write_from_double(x, run.x);
    const Expected expected = expected_of(run);
    run.forward();
    run.layer.apply_updates();
    CHECK(distance(doubles_of(run.y), expected.y) <= tolerance.output);
    for (const auto& [name, values] : expected.statistics) {
      INFO(name);
      CHECK(distance(doubles_of(run.layer.variable(name).value()), values) <= tolerance.statistics);
    }
  }
}

void check(const UseCase& use_case) { check(use_case, 0.0, tolerance_of(*use_case.options.dtype)); }

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

TEST_CASE("every option computes what it is defined to far from 0", "[layers]") {
  for (const Feature& feature : features()) {
    if (feature.option == "dtype") continue;
    INFO(feature.name);
    // The reference knows the mean to 1e-16 of itself, which is 1e-8 standard deviations.
    check(use_case_of({feature.name}), 1e8, {1e-7, 1e-7});
    check(use_case_of({feature.name, "float32"}), 1e6, tolerance_of(DType::float32));
  }
}

TEST_CASE("renormalization never divides by less than the root of epsilon", "[layers]") {
  UseCase use_case = use_case_of({"renorm"});
  use_case.options.moving_variance_initializer = Zeros{};
  use_case.options.renorm_momentum = 1.0;
  check(use_case);
}

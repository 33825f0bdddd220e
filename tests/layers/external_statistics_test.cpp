// Statistics to and from other systems, on any number of ranks.

#include "lockstep/layers/external_statistics.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/presets.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

using Values = std::vector<double>;

const Communicator& world() {
  static const Communicator group = Communicator::world();
  return group;
}

Tensor tensor(const Values& values) {
  return Tensor::of(std::span(values), {static_cast<std::int64_t>(values.size())});
}

Tensor counter(std::int64_t value) {
  const std::vector<std::int64_t> values{value};
  return Tensor::of(std::span(values), {});
}

BatchNormalization built(BatchNormalizationOptions options, const Shape& shape = {5, 2}) {
  options.dtype = DType::float64;
  BatchNormalization layer(std::move(options));
  layer.build(shape, world());
  return layer;
}

// A layer that has seen batches, with the same values on all ranks.
BatchNormalization trained(const BatchNormalizationOptions& options, const Shape& shape = {5, 2}) {
  BatchNormalization layer = built(options, shape);
  for (std::uint64_t step = 1; step <= 3; ++step)
    (void)output_of(layer, random_tensor(shape, step), {.mode = Mode::training});
  for (Variable* parameter : layer.variables())
    if (parameter->role() == VariableRole::parameter)
      parameter->assign(random_tensor(parameter->shape(), 9));
  layer.apply_updates();
  return layer;
}

ExternalStatistics pytorch_example() {
  ExternalStatistics external = pytorch_statistics("bn1.");
  external.tensors = {{"bn1.weight", tensor({2.0, 3.0})},
                      {"bn1.bias", tensor({-1.0, 1.0})},
                      {"bn1.running_mean", tensor({10.0, 20.0})},
                      {"bn1.running_var", tensor({4.0, 8.0})},
                      {"bn1.num_batches_tracked", counter(7)}};
  return external;
}

std::vector<Tensor> copies_of(BatchNormalization& layer) {
  std::vector<Tensor> values;
  for (const Variable* variable : layer.variables())
    values.push_back(Tensor::copy_of(variable->value()));
  return values;
}

bool has_values(BatchNormalization& layer, const std::vector<Tensor>& values) {
  return std::ranges::equal(copies_of(layer), values,
                            [](const Tensor& a, const Tensor& b) { return is_identical(a, b); });
}

// Importing this is refused with all of these parts, on all ranks alike, and changes nothing.
void require_refused(BatchNormalization& layer, const ExternalStatistics& external,
                     const std::vector<std::string>& parts, ErrorCode code = ErrorCode::argument) {
  const auto before = copies_of(layer);
  const auto momentum = layer.options().momentum;
  const Caught caught = caught_from([&] { layer.import_statistics(external); });
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
  REQUIRE_ON_ALL_RANKS(world(), caught.is(code));
  for (const std::string& part : parts)
    REQUIRE_ON_ALL_RANKS(world(), caught.what.find(part) != std::string::npos);
  REQUIRE_ON_ALL_RANKS(world(), has_values(layer, before));
  REQUIRE_ON_ALL_RANKS(world(), layer.options().momentum == momentum);
}

struct Case {
  ExternalStatistics external;
  std::vector<BatchNormalizationOptions> options;
};

// Systems and the layers that they have counterparts of.
std::vector<Case> cases() {
  BatchNormalizationOptions average = pytorch();
  average.momentum = std::nullopt;
  BatchNormalizationOptions plain = keras();
  plain.scale = plain.center = false;
  BatchNormalizationOptions renorm = keras();
  renorm.renorm = true;
  BatchNormalizationOptions untracked = keras();
  untracked.track_moving_statistics = false;
  return {{pytorch_statistics("layer.bn."), {pytorch(), average, keras(), plain, untracked}},
          {keras_statistics(), {keras(), keras_sync(), plain, pytorch(), renorm, untracked}},
          {tf1_keras_statistics("bn/"), {tf1_keras(), keras(), pytorch(), renorm}},
          {contrib_statistics(),
           {contrib(), contrib({.scale = true, .zero_debias_moving_mean = true}),
            contrib({.renorm = true}), pytorch()}},
          {onnx_statistics(), {keras(), pytorch()}}};
}

}  // namespace

TEST_CASE("PyTorch's statistics become Keras's, by hand") {
  BatchNormalization layer = built(keras());
  ExternalStatistics external = pytorch_example();
  external.num_elements = 5.0;
  layer.import_statistics(external);
  const auto is = [&](const char* name, const Values& values) {
    return distance(values_of(layer.variable(name)), values) < 1e-15;
  };
  REQUIRE_ON_ALL_RANKS(world(), layer.options().momentum == 0.9);
  REQUIRE_ON_ALL_RANKS(world(), is("gamma", {2.0, 3.0}));
  REQUIRE_ON_ALL_RANKS(world(), is("beta", {-1.0, 1.0}));
  REQUIRE_ON_ALL_RANKS(world(), is("moving_mean", {10.0, 20.0}));
  REQUIRE_ON_ALL_RANKS(world(), is("moving_variance", {3.2, 6.4}));
  REQUIRE_ON_ALL_RANKS(world(), is("num_updates", {7.0}));
  REQUIRE_ON_ALL_RANKS(world(), is("num_elements", {35.0, 35.0}));
  REQUIRE_ON_ALL_RANKS(world(), is("shift", {10.0, 20.0}));

  const Tensor x = Tensor::of(std::span<const double>(Values{11.0, 21.0}), {1, 2});
  const Tensor y = output_of(layer, x);
  const Values expected{2.0 / std::sqrt(3.201) - 1.0, 3.0 / std::sqrt(6.401) + 1.0};
  REQUIRE_ON_ALL_RANKS(world(), distance(y.values<double>(), expected) < 1e-14);

  const ExternalStatistics back = layer.export_statistics(external);
  REQUIRE_ON_ALL_RANKS(world(), back.momentum == 0.1);
  REQUIRE_ON_ALL_RANKS(world(), back.tensors.size() == 5);
  for (const auto& entry : external.tensors)
    REQUIRE_ON_ALL_RANKS(world(), is_identical(back.tensors.at(entry.first), entry.second));
}

TEST_CASE("names and conventions of each system") {
  BatchNormalization layer = trained(pytorch());
  const double variance = values_of(layer.moving_variance())[0];
  const auto exported = [&](ExternalStatistics form, const char* name) {
    form.num_elements = 5.0;
    return layer.export_statistics(std::move(form)).tensors.at(name).values<double>()[0];
  };
  const auto is = [&](double value, double expected) {
    return std::abs(value - expected) <= 1e-15 * expected;
  };
  REQUIRE_ON_ALL_RANKS(world(), is(exported(pytorch_statistics(), "running_var"), variance));
  const double biased = 0.8 * variance;
  REQUIRE_ON_ALL_RANKS(world(), is(exported(keras_statistics(), "moving_variance"), biased));
  REQUIRE_ON_ALL_RANKS(world(), is(exported(onnx_statistics("X_"), "X_input_var"), biased));
  // TensorFlow's fused kernel takes matrices in contrib only.
  REQUIRE_ON_ALL_RANKS(world(), is(exported(tf1_keras_statistics(), "moving_variance"), biased));
  REQUIRE_ON_ALL_RANKS(world(),
                       is(exported(contrib_statistics(), "BatchNorm/moving_variance"), variance));
  const auto momentum_of = [&](const ExternalStatistics& form) {
    ExternalStatistics with_count = form;
    with_count.num_elements = 5.0;
    return layer.export_statistics(std::move(with_count)).momentum;
  };
  REQUIRE_ON_ALL_RANKS(world(), momentum_of(pytorch_statistics()) == 0.1);
  for (const auto& form : {keras_statistics(), contrib_statistics(), onnx_statistics()})
    REQUIRE_ON_ALL_RANKS(world(), momentum_of(form) == 0.9);
  REQUIRE_ON_ALL_RANKS(world(), onnx_statistics().momentum == 0.9);
  REQUIRE_ON_ALL_RANKS(world(), keras_statistics().momentum == 0.99);
  REQUIRE_ON_ALL_RANKS(world(), contrib_statistics().momentum == 0.999);
}

TEST_CASE("what is exported and imported again is what it was") {
  for (const Case& each : cases())
    for (const BatchNormalizationOptions& options : each.options) {
      INFO(each.external.system << " " << static_cast<int>(options.moving_variance));
      BatchNormalization from = trained(options), to = built(options);
      ExternalStatistics form = each.external;
      form.num_elements = 5.0;
      const ExternalStatistics external = from.export_statistics(form);
      to.import_statistics(external);
      REQUIRE_ON_ALL_RANKS(world(), to.options().momentum == options.momentum);
      const bool counts = form.names.contains("num_updates");
      for (Variable* variable : from.variables()) {
        const std::string name = variable->name().substr(from.variable_scope().size() + 1);
        if (name == "shift" || name.ends_with("grid") || (!counts && name.starts_with("num_")))
          continue;
        INFO(name);
        REQUIRE_ON_ALL_RANKS(world(),
                             distance(values_of(to.variable(name)), values_of(*variable)) < 1e-15);
      }
      const ExternalStatistics again = to.export_statistics(form);
      REQUIRE_ON_ALL_RANKS(world(), again.momentum == external.momentum);
      for (const auto& entry : external.tensors)
        REQUIRE_ON_ALL_RANKS(world(),
                             again.tensors.at(entry.first).shape() == entry.second.shape());
    }
}

TEST_CASE("layers of two conventions that exchange statistics go on alike") {
  BatchNormalization unbiased = trained(pytorch());
  BatchNormalizationOptions options = keras();
  options.epsilon = 1e-5;
  BatchNormalization biased = built(options);
  ExternalStatistics form = pytorch_statistics();
  form.num_elements = 5.0;
  biased.import_statistics(unbiased.export_statistics(form));
  for (std::uint64_t step = 4; step < 7; ++step) {
    const Tensor x = random_tensor({5, 2}, step);
    const Tensor y = output_of(unbiased, x, {.mode = Mode::training});
    REQUIRE_ON_ALL_RANKS(world(),
                         distance_of(output_of(biased, x, {.mode = Mode::training}), y) < 1e-13);
  }
  const ExternalStatistics a = unbiased.export_statistics(form);
  const ExternalStatistics b = biased.export_statistics(form);
  for (const auto& entry : a.tensors) {
    if (entry.first == "num_batches_tracked") continue;
    REQUIRE_ON_ALL_RANKS(world(), distance_of(b.tensors.at(entry.first), entry.second) < 1e-14);
  }
  REQUIRE_ON_ALL_RANKS(world(), values_of(biased.variable("num_updates"))[0] == 6.0);
}

TEST_CASE("PyTorch's momentum None goes on as the average of all batches") {
  BatchNormalization layer = built(pytorch());
  ExternalStatistics external = pytorch_example();
  external.momentum = std::nullopt;
  layer.import_statistics(external);
  REQUIRE_ON_ALL_RANKS(world(), !layer.options().momentum);
  const Tensor x = Tensor::of(std::span<const double>(Values{17.0, 4.0, 19.0, 4.0}), {2, 2});
  (void)output_of(layer, x, {.mode = Mode::training});
  const Values mean{(7.0 * 10.0 + 18.0) / 8.0, (7.0 * 20.0 + 4.0) / 8.0};
  REQUIRE_ON_ALL_RANKS(world(), distance(values_of(layer.moving_mean()), mean) < 1e-14);
  REQUIRE_ON_ALL_RANKS(world(), !layer.export_statistics(pytorch_statistics()).momentum);
  const Caught caught = caught_from([&] {
    ExternalStatistics form = keras_statistics();
    form.num_elements = 5.0;
    (void)layer.export_statistics(form);
  });
  REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::argument));
  REQUIRE_ON_ALL_RANKS(world(), caught.what.find("does not count") != std::string::npos);
}

TEST_CASE("numbers of another floating type are converted") {
  BatchNormalization layer = built(pytorch());
  ExternalStatistics external = pytorch_example();
  for (auto& entry : external.tensors)
    if (entry.second.dtype() == DType::float64) entry.second = to_float32(entry.second);
  layer.import_statistics(external);
  REQUIRE_ON_ALL_RANKS(world(), (values_of(layer.moving_variance()) == Values{4.0, 8.0}));
}

TEST_CASE("several channel axes keep their shape") {
  BatchNormalizationOptions options = keras();
  options.axis = {1, 3};
  BatchNormalization layer = trained(options, {2, 3, 4, 2});
  const ExternalStatistics external = layer.export_statistics(keras_statistics());
  REQUIRE_ON_ALL_RANKS(world(), external.tensors.at("gamma").shape() == Shape({1, 3, 1, 2}));
  BatchNormalization other = built(options, {2, 3, 4, 2});
  other.import_statistics(external);
  REQUIRE_ON_ALL_RANKS(world(),
                       values_of(other.moving_variance()) == values_of(layer.moving_variance()));
}

TEST_CASE("one error names everything that does not fit") {
  BatchNormalization layer = built(keras());
  ExternalStatistics external = pytorch_example();
  external.num_elements = 0.5;
  external.momentum = 1.5;
  external.tensors.erase("bn1.weight");
  external.tensors["bn1.bias"] = tensor({1.0, 2.0, 3.0});
  external.tensors["bn1.running_mean"] = counter(3);
  external.tensors["bn1.running_var"] = tensor({1.0, -2.0});
  external.tensors["bn1.num_batches_tracked"] = counter(-1);
  external.tensors["conv1.weight"] = tensor({1.0});
  require_refused(layer, external,
                  {"PyTorch", "num_elements must be at least 1, got 0.5", "momentum", "1.5",
                   "missing: bn1.weight", "'bn1.bias' has the shape", "'bn1.running_mean' has the",
                   "'bn1.running_var' must not be negative",
                   "'bn1.num_batches_tracked' must not be negative", "superfluous: conv1.weight"});
  external = pytorch_example();
  require_refused(layer, external, {"give num_elements"});
  external.num_elements = 5.0;
  external.tensors["bn1.running_var"] = tensor({1.0, std::nan("")});
  external.tensors["bn1.running_mean"] = tensor({std::nan(""), 0.0});
  require_refused(layer, external,
                  {"'bn1.running_var' must be finite", "'bn1.running_mean' must be finite"});
  external.tensors["bn1.running_mean"] = tensor({0.0, 0.0});
  external.tensors["bn1.running_var"] = Tensor({2}, DType::int64);
  require_refused(layer, external, {"'bn1.running_var' is int64, expected a floating dtype"});
  external.tensors["bn1.running_var"] = tensor({1.0, 1.0});
  external.tensors["bn1.num_batches_tracked"] = Tensor({}, DType::float64);
  require_refused(layer, external, {"'bn1.num_batches_tracked' is float64, expected int64"});
  for (int i = 0; i < 100; ++i) external.tensors["fc" + std::to_string(i)] = tensor({1.0});
  require_refused(layer, external, {"'bn1.num_batches_tracked'", "and 92 more"});
}

TEST_CASE("what a system does not have is named") {
  BatchNormalizationOptions options = keras();
  options.renorm = true;
  BatchNormalization layer = built(options);
  ExternalStatistics external = pytorch_example();
  require_refused(layer, external, {"it has no moving_stddev", "it has no renorm_mean"});
  external = keras_statistics();
  external.momentum = std::nullopt;
  require_refused(layer, external, {"does not count", "missing"});

  BatchNormalization without_scale = built(contrib());
  external = contrib_statistics();
  external.tensors = contrib_statistics().tensors;
  for (const char* name : {"beta", "gamma", "moving_mean", "moving_variance"})
    external.tensors["BatchNorm/" + std::string(name)] = tensor({1.0, 1.0});
  require_refused(without_scale, external, {"superfluous: BatchNorm/gamma"});
}

TEST_CASE("momentum that the layer's options do not allow is refused") {
  BatchNormalizationOptions options = pytorch();
  options.nonfinite = Nonfinite::skip_update;
  BatchNormalization layer = built(options);
  ExternalStatistics external = pytorch_example();
  external.momentum = std::nullopt;
  require_refused(layer, external, {"average of all batches"});
}

TEST_CASE("ranks import the same or nothing") {
  if (world().is_solo()) return;
  BatchNormalization layer = built(pytorch());
  const bool is_last = world().rank() == world().size() - 1;
  ExternalStatistics external = pytorch_example();
  if (is_last) external.tensors["bn1.bias"] = tensor({-1.0, 1.5});
  require_refused(layer, external, {"statistics", "differs"}, ErrorCode::mismatch);
  external = pytorch_example();
  if (is_last) external.momentum = 0.2;
  require_refused(layer, external, {"momentum"}, ErrorCode::mismatch);
  external = pytorch_example();
  if (is_last) external.tensors.erase("bn1.bias");
  require_refused(layer, external, {"missing: bn1.bias"});
}

TEST_CASE("before there are variables there is nothing to import into") {
  BatchNormalization layer(pytorch());
  const auto is_refused = [](const Caught& caught) {
    return caught.is(ErrorCode::state) && caught.what.find("build it first") != std::string::npos;
  };
  REQUIRE_ON_ALL_RANKS(
      world(), is_refused(caught_from([&] { layer.import_statistics(pytorch_example()); })));
  REQUIRE_ON_ALL_RANKS(
      world(),
      is_refused(caught_from([&] { (void)layer.export_statistics(pytorch_statistics()); })));
  layer.create({5, 2}, DType::float64, 0);  // as a model does before it is built
  layer.import_statistics(pytorch_example());
  REQUIRE_ON_ALL_RANKS(world(), (values_of(layer.gamma()) == Values{2.0, 3.0}));
}

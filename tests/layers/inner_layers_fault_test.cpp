// Ranks that fail in layers with layers inside: all of them throw the same, and go on.

#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>

#include "layers/layers_of_layers.hpp"
#include "layers/normalizer_cases.hpp"
#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

TEST_CASE("a bad call of a normalized layer on one rank is the same error on all", "[layers]") {
  const int num_ranks = world().size();
  const int guilty = GENERATE_COPY(range(0, num_ranks));
  const bool is_guilty = world().rank() == guilty;
  for (const NormalizedCase& in : normalized_cases()) {
    const auto layer = in.make(BatchNormalizationOptions{.synchronized = true});
    layer->build(in.shape, world());
    const auto tape = layer->make_tape(), unused = layer->make_tape();
    const Tensor x = random_tensor(in.shape, static_cast<std::uint64_t>(world().rank()));
    const Tensor wrong({1, 1}, DType::float64);
    Tensor y(layer->output_shape(in.shape), DType::float64);
    const Call call{.mode = Mode::training, .tape = tape.get(), .commit = Commit::by_caller};
    const auto forward = [&](const Tensor& input, Tape* on) {
      Call own = call;
      own.tape = on;
      return caught_from([&] { layer->forward(input, y, own); });
    };
    const auto before = values_of(layer->variables());
    require_failure(forward(is_guilty ? wrong : x, tape.get()), ErrorCode::argument, guilty,
                    "layer 'layer', forward");
    require_failure(forward(x, is_guilty ? nullptr : tape.get()), ErrorCode::argument, guilty,
                    "needs a tape");
    Tape foreign;
    require_failure(forward(x, is_guilty ? &foreign : tape.get()), ErrorCode::state, guilty,
                    "another layer's tape");
    layer->commit(*tape);  // there is nothing
    REQUIRE_ON_ALL_RANKS(world(), values_of(layer->variables()) == before);

    const auto backward = [&](const Tensor& gradient, Tape& on) {
      layer->forward(x, y, call);
      return caught_from([&] { layer->backward(on, gradient, {}); });
    };
    require_failure(backward(is_guilty ? wrong : y, *tape), ErrorCode::argument, guilty,
                    "layer 'layer', backward");
    require_failure(backward(y, is_guilty ? *unused : *tape), ErrorCode::state, guilty,
                    "recorded no call");

    // The user's own loop.
    const auto reason = std::make_exception_ptr(DataError("disk is gone"));
    require_failure(caught_from([&] {
                      if (is_guilty) normalizer_of(*layer).fail(Pass::forward, reason);
                      layer->forward(x, y, call);
                    }),
                    ErrorCode::data, guilty, "'layer/batch_normalization', forward");
    const Caught good = caught_from([&] {
      layer->forward(x, y, call);
      layer->backward(*tape, y, {});
    });
    REQUIRE_ON_ALL_RANKS(world(), good.type.empty());
  }
}

TEST_CASE("a rank that throws within a block throws on all; the block goes on", "[layers]") {
  const int num_ranks = world().size();
  const int guilty = GENERATE_COPY(range(0, num_ranks));
  const bool is_fused = GENERATE(true, false);
  const bool has_projection = GENERATE(true, false);
  std::optional<Pass> armed;
  int num_passed = 0;  // traps that are let pass first
  const auto layer = block_of(is_fused, has_projection, [&](Pass pass) {
    if (armed != pass || num_passed-- > 0 || world().rank() != guilty) return;
    armed.reset();
    throw std::runtime_error("boom");
  });
  layer->build({4, 3}, world());
  const auto tape = layer->make_tape();
  const Tensor x = random_tensor({4, 3}, static_cast<std::uint64_t>(world().rank()));
  Tensor y(layer->output_shape(x.shape()), DType::float64), dx(x.shape(), DType::float64);
  const auto step = [&] {
    layer->forward(x, y, {.mode = Mode::training, .tape = tape.get(), .commit = Commit::by_caller});
    layer->backward(*tape, y, dx);
    layer->commit(*tape);
  };
  step();
  const auto before = values_of(layer->variables());
  const int num_traps = has_projection ? 2 : 1;
  for (const Pass pass : {Pass::forward, Pass::backward})
    for (int passed = 0; passed < num_traps; ++passed) {
      armed = pass;
      num_passed = passed;
      const Caught caught = caught_from(step);
      require_failure(caught, ErrorCode::foreign, guilty, "layer 'residual/trap");
      REQUIRE_ON_ALL_RANKS(world(), caught.what.find("boom") != std::string::npos);
      armed.reset();
      if (pass == Pass::forward) {
        layer->commit(*tape);
        REQUIRE_ON_ALL_RANKS(world(), values_of(layer->variables()) == before);
      }
    }
  step();
  REQUIRE_ON_ALL_RANKS(world(), values_of(layer->variables()) != before);
}

TEST_CASE("calls before a freeze go back as they came", "[layers]") {
  const auto layer = block_of(true, true);
  layer->build({4, 3}, world());
  const auto trained = layer->make_tape(), frozen = layer->make_tape();
  const Tensor x = random_tensor({4, 3}, static_cast<std::uint64_t>(world().rank()));
  const Tensor wrong({1, 1}, DType::float64);
  const Tensor y = output_of(*layer, x, {.mode = Mode::training, .tape = trained.get()});
  layer->set_trainable(false);
  (void)output_of(*layer, x, {.mode = Mode::training, .tape = frozen.get()});
  const bool is_guilty = world().rank() == world().size() - 1;
  require_failure(caught_from([&] { layer->backward(*trained, is_guilty ? wrong : y, {}); }),
                  ErrorCode::argument, world().size() - 1, "layer 'residual', backward");
  layer->backward(*trained, y, {});
  // Frozen layers merge nothing: a rank fails alone.
  const Caught alone = caught_from([&] { layer->backward(*frozen, is_guilty ? wrong : y, {}); });
  REQUIRE_ON_ALL_RANKS(world(), alone.type.empty() != is_guilty);
}

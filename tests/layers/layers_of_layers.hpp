// Layers with synchronized batch normalizations inside, for tests on several ranks.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/residual.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"
#include "support/trap.hpp"

namespace lockstep::testing {

inline const Communicator& world() {
  static const Communicator group = Communicator::world();
  return group;
}

inline BatchNormalization norm(bool synchronized = true) {
  return BatchNormalization({.momentum = 0.5, .synchronized = synchronized});
}

/// Three synchronized batch normalizations, the first one a normalizer; the last one takes the sum
/// in or not. A trap sits between the layers of main, and one in the shortcut.
inline std::unique_ptr<Layer> block_of(
    bool is_fused, bool has_projection, const std::function<void(Pass)>& at_pass = [](Pass) {}) {
  auto block = std::make_unique<Residual>(
      ResidualOptions{.activation = ActivationFunction::silu, .dtype = DType::float64});
  block->add_main(
      Dense({.units = 5, .normalizer = BatchNormalizationOptions{.synchronized = true}}));
  block->add_main(Trap(at_pass));
  block->add_main(Dense({.units = has_projection ? 4 : 3, .use_bias = false})).add_main(norm());
  if (!is_fused) block->add_main(Activation({.function = ActivationFunction::tanh}));
  if (has_projection)
    block->add_shortcut(Dense({.units = 4, .use_bias = false}))
        .add_shortcut(norm())
        .add_shortcut(Trap(at_pass));
  return block;
}

/// All ranks must have caught the same error of rank `guilty`.
inline void require_failure(const Caught& caught, ErrorCode code, int guilty,
                            const std::string& part) {
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(world(), caught.is(code));
  REQUIRE_ON_ALL_RANKS(world(), caught.rank() == guilty);
  REQUIRE_ON_ALL_RANKS(world(), caught.what.find(part) != std::string::npos);
  REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
}

}  // namespace lockstep::testing

// First values of variables.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "lockstep/base/export.hpp"
#include "lockstep/base/tensor_view.hpp"

namespace lockstep {

struct Zeros {};
struct Ones {};
struct Constant {
  double value = 0.0;
};
/// Without a seed of its own a random initializer uses the seed of the layer or model. Numbers
/// depend on seed, variable name and position only: they are identical on all ranks.
struct RandomNormal {
  double mean = 0.0;
  double stddev = 0.05;
  std::optional<std::uint64_t> seed = std::nullopt;
};
struct RandomUniform {
  double minimum = -0.05;
  double maximum = 0.05;
  std::optional<std::uint64_t> seed = std::nullopt;
};
/// A normal distribution without its values beyond two standard deviations.
struct TruncatedNormal {
  double mean = 0.0;
  double stddev = 0.05;
  std::optional<std::uint64_t> seed = std::nullopt;
};
/// Random values of variance scale / n with n the number of inputs, of outputs, or their average
/// (Glorot & Bengio 2010, He et al. 2015).
struct VarianceScaling {
  enum class Fan : std::uint8_t { in, out, average };
  enum class Distribution : std::uint8_t { truncated_normal, untruncated_normal, uniform };

  double scale = 1.0;
  Fan fan = Fan::in;
  Distribution distribution = Distribution::truncated_normal;
  std::optional<std::uint64_t> seed = std::nullopt;
};

using Initializer = std::variant<Zeros, Ones, Constant, RandomNormal, RandomUniform,
                                 TruncatedNormal, VarianceScaling>;

[[nodiscard]] LOCKSTEP_EXPORT Initializer glorot_uniform();
[[nodiscard]] LOCKSTEP_EXPORT Initializer glorot_normal();
[[nodiscard]] LOCKSTEP_EXPORT Initializer he_uniform();
[[nodiscard]] LOCKSTEP_EXPORT Initializer he_normal();
[[nodiscard]] LOCKSTEP_EXPORT Initializer lecun_uniform();
[[nodiscard]] LOCKSTEP_EXPORT Initializer lecun_normal();

/// Fills `values` for the variable `name`. Kernels are [inputs, outputs] or
/// [height, width, inputs, outputs]. Throws ArgumentError on impossible parameters.
LOCKSTEP_EXPORT void initialize(const Initializer& initializer, std::string_view name,
                                std::uint64_t seed, const MutableTensorView& values);

/// "average".
[[nodiscard]] LOCKSTEP_EXPORT std::string_view name_of(VarianceScaling::Fan fan) noexcept;
/// "truncated_normal".
[[nodiscard]] LOCKSTEP_EXPORT std::string_view name_of(
    VarianceScaling::Distribution distribution) noexcept;

/// The initializer in words, "constant(0.5)".
[[nodiscard]] LOCKSTEP_EXPORT std::string to_string(const Initializer& initializer);

}  // namespace lockstep

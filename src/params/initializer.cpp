#include "lockstep/params/initializer.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>

#include "base/random.hpp"
#include "base/visit_dtype.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

using Fan = VarianceScaling::Fan;
using Distribution = VarianceScaling::Distribution;

template <class... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
template <class... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;

template <class Value>
void fill(const MutableTensorView& values, Value&& value_at) {
  visit_floating(values.dtype(), [&]<class T>(TypeTag<T>) {
    std::uint64_t i = 0;
    for (T& value : values.values<T>()) value = static_cast<T>(value_at(i++));
  });
}

double truncated_normal(const RandomKey& key, std::uint64_t i) {
  for (std::uint64_t attempt = 0;; ++attempt) {
    const double value = key.with(attempt).normal(i);
    if (std::abs(value) <= 2.0) return value;
  }
}

double fan_of(Fan fan, const Shape& shape) {
  const int rank = shape.rank();
  double field = 1.0;  // positions of a convolution's kernel
  for (int axis = 0; axis < rank - 2; ++axis) field *= static_cast<double>(shape[axis]);
  const double inputs =
      rank == 0 ? 1.0 : field * static_cast<double>(shape[rank < 2 ? 0 : rank - 2]);
  const double outputs = rank == 0 ? 1.0 : field * static_cast<double>(shape[rank - 1]);
  const double result = fan == Fan::in    ? inputs
                        : fan == Fan::out ? outputs
                                          : (inputs + outputs) / 2.0;
  return std::max(1.0, result);
}

void fill_scaled(const VarianceScaling& scaling, const RandomKey& key,
                 const MutableTensorView& values) {
  if (!(scaling.scale > 0.0) || !std::isfinite(scaling.scale))
    throw ArgumentError(
        fmt::format("variance scaling needs a finite scale > 0, got {}", scaling.scale));
  const double variance = scaling.scale / fan_of(scaling.fan, values.shape());
  switch (scaling.distribution) {
    case Distribution::uniform: {
      const double limit = std::sqrt(3.0 * variance);
      return fill(values, [&](std::uint64_t i) { return limit * (2.0 * key.uniform(i) - 1.0); });
    }
    case Distribution::untruncated_normal:
      return fill(values, [&](std::uint64_t i) { return std::sqrt(variance) * key.normal(i); });
    case Distribution::truncated_normal: {
      // Standard deviation of a standard normal cut at +-2.
      const double stddev = std::sqrt(variance) / 0.87962566103423978;
      return fill(values, [&](std::uint64_t i) { return stddev * truncated_normal(key, i); });
    }
  }
}

Initializer scaled(double scale, Fan fan, Distribution distribution) {
  return VarianceScaling{.scale = scale, .fan = fan, .distribution = distribution};
}

void require_normal(double mean, double stddev) {
  if (!std::isfinite(mean) || !(stddev >= 0.0) || !std::isfinite(stddev))
    throw ArgumentError(fmt::format(
        "a normal initializer needs a finite mean and stddev >= 0, got {} and {}", mean, stddev));
}

void require_range(double minimum, double maximum) {
  if (!(minimum <= maximum) || !std::isfinite(maximum - minimum))
    throw ArgumentError(fmt::format(
        "a uniform initializer needs finite minimum <= maximum, got {} and {}", minimum, maximum));
}

void require_finite(double value) {
  if (!std::isfinite(value))
    throw ArgumentError(fmt::format("a constant initializer needs a finite value, got {}", value));
}

std::string seed_text(const std::optional<std::uint64_t>& seed) {
  return seed ? fmt::format(", seed {}", *seed) : std::string();
}

}  // namespace

Initializer glorot_uniform() { return scaled(1.0, Fan::average, Distribution::uniform); }
Initializer glorot_normal() { return scaled(1.0, Fan::average, Distribution::truncated_normal); }
Initializer he_uniform() { return scaled(2.0, Fan::in, Distribution::uniform); }
Initializer he_normal() { return scaled(2.0, Fan::in, Distribution::truncated_normal); }
Initializer lecun_uniform() { return scaled(1.0, Fan::in, Distribution::uniform); }
Initializer lecun_normal() { return scaled(1.0, Fan::in, Distribution::truncated_normal); }

void initialize(const Initializer& initializer, std::string_view name, std::uint64_t seed,
                const MutableTensorView& values) {
  const auto key = [&](const std::optional<std::uint64_t>& own) {
    return RandomKey(own.value_or(seed)).with(name);
  };
  values.check("the memory of a variable");
  std::visit(
      Overloaded{
          [&](const Zeros&) { fill(values, [](std::uint64_t) { return 0.0; }); },
          [&](const Ones&) { fill(values, [](std::uint64_t) { return 1.0; }); },
          [&](const Constant& constant) {
            require_finite(constant.value);
            fill(values, [&](std::uint64_t) { return constant.value; });
          },
          [&](const RandomNormal& normal) {
            require_normal(normal.mean, normal.stddev);
            fill(values, [&, k = key(normal.seed)](std::uint64_t i) {
              return normal.mean + normal.stddev * k.normal(i);
            });
          },
          [&](const RandomUniform& uniform) {
            require_range(uniform.minimum, uniform.maximum);
            fill(values, [&, k = key(uniform.seed)](std::uint64_t i) {
              return uniform.minimum + (uniform.maximum - uniform.minimum) * k.uniform(i);
            });
          },
          [&](const TruncatedNormal& normal) {
            require_normal(normal.mean, normal.stddev);
            fill(values, [&, k = key(normal.seed)](std::uint64_t i) {
              return normal.mean + normal.stddev * truncated_normal(k, i);
            });
          },
          [&](const VarianceScaling& scaling) { fill_scaled(scaling, key(scaling.seed), values); },
      },
      initializer);
}

std::string_view name_of(Fan fan) noexcept {
  switch (fan) {
    case Fan::in:
      return "in";
    case Fan::out:
      return "out";
    case Fan::average:
      return "average";
  }
  return "unknown";
}

std::string_view name_of(Distribution distribution) noexcept {
  switch (distribution) {
    case Distribution::truncated_normal:
      return "truncated_normal";
    case Distribution::untruncated_normal:
      return "untruncated_normal";
    case Distribution::uniform:
      return "uniform";
  }
  return "unknown";
}

std::string to_string(const Initializer& initializer) {
  return std::visit(
      Overloaded{
          [](const Zeros&) { return std::string("zeros"); },
          [](const Ones&) { return std::string("ones"); },
          [](const Constant& c) { return fmt::format("constant({})", c.value); },
          [](const RandomNormal& n) {
            return fmt::format("random_normal({}, {}{})", n.mean, n.stddev, seed_text(n.seed));
          },
          [](const RandomUniform& u) {
            return fmt::format("random_uniform({}, {}{})", u.minimum, u.maximum, seed_text(u.seed));
          },
          [](const TruncatedNormal& n) {
            return fmt::format("truncated_normal({}, {}{})", n.mean, n.stddev, seed_text(n.seed));
          },
          [](const VarianceScaling& v) {
            return fmt::format("variance_scaling({}, fan {}, {}{})", v.scale, name_of(v.fan),
                               name_of(v.distribution), seed_text(v.seed));
          },
      },
      initializer);
}

}  // namespace lockstep

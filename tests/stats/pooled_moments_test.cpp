// The moments of the parts of a set, pooled, are those of the set.

#include "stats/pooled_moments.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/random.hpp"
#include "support/catch.hpp"

namespace lockstep {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// Moments of one channel, or of several.
struct Set {
  std::vector<double> count, mean, variance;

  [[nodiscard]] MomentsView view() const { return {count, mean, variance}; }
};

PooledMoments pooled(const std::vector<Set>& sets, std::size_t num_channels = 1) {
  PooledMoments pool(num_channels);
  for (const Set& set : sets) pool.add_mean(set.view());
  for (const Set& set : sets) pool.add_variance(set.view());
  return pool;
}

// By the definition, in long double; an empty set has moments that nobody may look at.
Set set_of(std::span<const double> samples) {
  if (samples.empty()) return {{0.0}, {nan}, {nan}};
  const auto count = static_cast<long double>(samples.size());
  const long double mean = std::accumulate(samples.begin(), samples.end(), 0.0L) / count;
  long double squares = 0.0L;
  for (const double x : samples) squares += (x - mean) * (x - mean);
  return {{static_cast<double>(count)},
          {static_cast<double>(mean)},
          {static_cast<double>(squares / count)}};
}

// Samples whose level drifts, so that parts have means of their own.
std::vector<double> samples_about(double offset, std::size_t num_samples) {
  const RandomKey key(3);
  std::vector<double> samples(num_samples);
  for (std::size_t i = 0; i < num_samples; ++i)
    samples[i] = offset + key.normal(i) + 0.1 * static_cast<double>(i);
  return samples;
}

// Cuts at random places, some of them equal: empty parts are among them.
std::vector<Set> random_parts_of(std::span<const double> samples, std::uint64_t seed) {
  const RandomKey key(seed);
  std::vector<std::size_t> cuts{0, samples.size()};
  for (std::uint64_t i = 0; i < seed % 7; ++i) cuts.push_back(key.bits(i) % (samples.size() + 1));
  if (seed % 2 == 1) cuts.push_back(cuts.back());
  std::ranges::sort(cuts);
  std::vector<Set> parts;
  for (std::size_t i = 1; i < cuts.size(); ++i)
    parts.push_back(set_of(samples.subspan(cuts[i - 1], cuts[i] - cuts[i - 1])));
  return parts;
}

TEST_CASE("pooled moments: those of any parts of a set are those of the set") {
  for (const double offset : {0.0, 1e3, -1e6, 1e6}) {
    const std::vector<double> samples = samples_about(offset, 40);
    const Set whole = set_of(samples);
    // A mean about M is known to M eps; (m - M)^2 <= 16 inherits 2 * 4 of these errors.
    const double spacing = 4.0 * std::max(std::abs(offset), 8.0) * 0x1p-52;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
      const PooledMoments pool = pooled(random_parts_of(samples, seed));
      INFO("offset " << offset << ", seed " << seed);
      REQUIRE(pool.count(0) == 40.0);
      REQUIRE(std::abs(pool.mean(0) - whole.mean[0]) <= spacing);
      REQUIRE(std::abs(pool.variance(0) - whole.variance[0]) <= 8.0 * spacing);
    }
  }
}

TEST_CASE("united moments: those of parts that come one after another are those of the set") {
  for (const double offset : {0.0, 1e3, -1e6, 1e6}) {
    const std::vector<double> samples = samples_about(offset, 40);
    const Set whole = set_of(samples);
    const double spacing = 4.0 * std::max(std::abs(offset), 8.0) * 0x1p-52;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
      SetMoments all;
      for (const Set& part : random_parts_of(samples, seed))
        all = union_of(all, {part.count[0], part.mean[0], part.variance[0]});
      INFO("offset " << offset << ", seed " << seed);
      REQUIRE(all.count == 40.0);
      REQUIRE(std::abs(all.mean - whole.mean[0]) <= spacing);
      REQUIRE(std::abs(all.variance - whole.variance[0]) <= 8.0 * spacing);
    }
  }
}

TEST_CASE("united moments: what is far apart is told to the last digits, and what is empty not") {
  const double far = 0x1p40;
  const SetMoments apart = union_of({5.0, far - 1.0, 0.0}, {5.0, far + 1.0, 0.0});
  CHECK(apart.count == 10.0);
  CHECK(apart.mean == far);
  CHECK(apart.variance == 1.0);
  CHECK(union_of({3.0, far, 0.0}, {5.0, far, 0.0}).variance == 0.0);
  for (const SetMoments& both :
       {union_of({0.0, nan, nan}, {2.0, 1.0, 4.0}), union_of({2.0, 1.0, 4.0}, {0.0, nan, nan})}) {
    CHECK(both.count == 2.0);
    CHECK(both.mean == 1.0);
    CHECK(both.variance == 4.0);
  }
  CHECK(std::isnan(union_of({1.0, 1.0, 2.0}, {1.0, 1.0, nan}).variance));
}

TEST_CASE("pooled moments: the order of the parts and pools of pools make no difference") {
  const std::vector<double> samples = samples_about(1e6, 40);
  for (std::uint64_t seed = 2; seed < 30; ++seed) {
    std::vector<Set> parts = random_parts_of(samples, seed);
    const PooledMoments pool = pooled(parts);
    const std::size_t half = parts.size() / 2;
    std::vector<Set> halves;
    for (const auto& side : {std::vector(parts.begin(), parts.begin() + static_cast<long>(half)),
                             std::vector(parts.begin() + static_cast<long>(half), parts.end())}) {
      const PooledMoments part = pooled(side);
      halves.push_back({{part.count(0)}, {part.mean(0)}, {part.variance(0)}});
    }
    std::ranges::reverse(parts);
    for (const PooledMoments& other : {pooled(halves), pooled(parts)}) {
      CHECK(other.count(0) == pool.count(0));
      CHECK(std::abs(other.mean(0) - pool.mean(0)) <= 4.0 * 1e6 * 0x1p-52);
      CHECK(std::abs(other.variance(0) - pool.variance(0)) <= 32.0 * 1e6 * 0x1p-52);
    }
  }
}

TEST_CASE("pooled moments: what is far apart is told to the last digits") {
  // Two constants at distance 2 around 2^40: mean between them, variance 1, exactly.
  const double far = 0x1p40;
  const PooledMoments pool = pooled({{{5.0}, {far - 1.0}, {0.0}}, {{5.0}, {far + 1.0}, {0.0}}});
  CHECK(pool.mean(0) == far);
  CHECK(pool.variance(0) == 1.0);
  // The same constant twice has no variance.
  CHECK(pooled({{{3.0}, {far}, {0.0}}, {{5.0}, {far}, {0.0}}}).variance(0) == 0.0);
}

TEST_CASE("pooled moments: channels are pooled apart, each with its own counts") {
  const std::vector<Set> sets{{{2.0, 0.0, 0.0}, {1.0, nan, nan}, {4.0, nan, nan}},
                              {{6.0, 3.0, 0.0}, {5.0, -7.0, nan}, {8.0, 9.0, nan}}};
  const PooledMoments pool = pooled(sets, 3);
  // N = 8: M = (2 + 30) / 8, V = (2 * (4 + 9) + 6 * (8 + 1)) / 8.
  CHECK(pool.count(0) == 8.0);
  CHECK(pool.mean(0) == 4.0);
  CHECK(pool.variance(0) == 10.0);
  CHECK(pool.count(1) == 3.0);
  CHECK(pool.mean(1) == -7.0);
  CHECK(pool.variance(1) == 9.0);
  CHECK(pool.count(2) == 0.0);
  CHECK(pool.mean(2) == 0.0);
  CHECK(pool.variance(2) == 0.0);
}

TEST_CASE("pooled moments: what is not a number in a set is not hidden in the pool") {
  const PooledMoments pool =
      pooled({{{1.0, 1.0}, {nan, 1.0}, {1.0, 2.0}}, {{1.0, 1.0}, {1.0, 1.0}, {1.0, nan}}}, 2);
  CHECK(std::isnan(pool.mean(0)));
  CHECK(std::isnan(pool.variance(0)));
  CHECK(pool.mean(1) == 1.0);
  CHECK(std::isnan(pool.variance(1)));
}

}  // namespace
}  // namespace lockstep

// The order of samples is one permutation per epoch, the same on any number of ranks.

#include "lockstep/train/sampler.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "lockstep/base/error.hpp"
#include "lockstep/comm/collectives.hpp"
#include "support/catch.hpp"
#include "support/mpi.hpp"

using namespace lockstep;

namespace {

using Indices = std::vector<std::int64_t>;

Indices order_of(const Sampler& sampler) {
  Indices order;
  for (std::int64_t b = 0; b < sampler.num_batches(); ++b) {
    const auto batch = sampler.batch(b);
    order.insert(order.end(), batch.begin(), batch.end());
  }
  return order;
}

Indices identity(std::int64_t count) {
  Indices order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  return order;
}

Indices sorted(Indices order) {
  std::sort(order.begin(), order.end());
  return order;
}

Indices epoch_of(SamplerOptions options, std::int64_t epoch) {
  Sampler sampler(options);
  sampler.start_epoch(epoch);
  return order_of(sampler);
}

// The parts of all ranks of a batch, one after the other.
Indices gathered(const Communicator& world, std::span<const std::int64_t> part) {
  Indices all;
  for (const auto& bytes : allgather_varying(world, std::as_bytes(part))) {
    Indices one(bytes.size() / sizeof(std::int64_t));
    std::copy(bytes.begin(), bytes.end(), std::as_writable_bytes(std::span(one)).begin());
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

}  // namespace

TEST_CASE("the shards of all ranks are the global batch, in order") {
  const Strategy strategy(Communicator::world());
  const Communicator& world = strategy.replicas();
  for (const std::int64_t num_samples : {0, 1, 2, 29, 64}) {
    Sampler sampler({.num_samples = num_samples, .batch_size = 9, .seed = 4});
    for (std::int64_t epoch = 0; epoch < 2; ++epoch) {
      sampler.start_epoch(epoch);
      for (std::int64_t b = 0; b < sampler.num_batches(); ++b) {
        const auto batch = sampler.batch(b);
        const Shard shard = strategy.shard_of(static_cast<std::int64_t>(batch.size()));
        const Indices all = gathered(world, sampler.batch(b, shard));
        REQUIRE_ON_ALL_RANKS(world, std::equal(all.begin(), all.end(), batch.begin(), batch.end()));
      }
    }
  }
}

TEST_CASE("an epoch visits every sample once") {
  for (const std::int64_t num_samples : {0, 1, 2, 3, 100, 1000})
    for (const std::int64_t epoch : {0, 1, 77})
      CHECK(sorted(epoch_of({.num_samples = num_samples, .batch_size = 7}, epoch)) ==
            identity(num_samples));
}

TEST_CASE("seed and epoch alone decide the order") {
  const SamplerOptions options{.num_samples = 200, .batch_size = 16, .seed = 5};
  SamplerOptions other_batches = options;
  other_batches.batch_size = 33;
  SamplerOptions other_seed = options;
  other_seed.seed = 6;
  CHECK(epoch_of(options, 3) == epoch_of(options, 3));
  CHECK(epoch_of(options, 3) == epoch_of(other_batches, 3));
  CHECK(epoch_of(options, 3) != epoch_of(options, 4));
  CHECK(epoch_of(options, 3) != epoch_of(other_seed, 3));
  CHECK(epoch_of(options, 3) != identity(200));

  Sampler sampler(options);  // whatever came before
  sampler.start_epoch(9);
  sampler.start_epoch(3);
  CHECK(order_of(sampler) == epoch_of(options, 3));
}

TEST_CASE("every sample comes equally often at every place") {
  constexpr std::int64_t num_samples = 5;
  constexpr int num_epochs = 5000;
  std::vector<int> counts(num_samples * num_samples);
  Sampler sampler({.num_samples = num_samples, .batch_size = num_samples});
  for (std::int64_t epoch = 0; epoch < num_epochs; ++epoch) {
    sampler.start_epoch(epoch);
    std::int64_t place = 0;
    for (const std::int64_t index : sampler.batch(0))
      ++counts[static_cast<std::size_t>(num_samples * place++ + index)];
  }
  // 1000 expected with a standard deviation of 28.
  for (const int count : counts) CHECK(std::abs(count - 1000) < 140);
}

TEST_CASE("without shuffle the order is that of the data set") {
  for (const std::int64_t epoch : {0, 1})
    CHECK(epoch_of({.num_samples = 50, .batch_size = 8, .shuffle = false}, epoch) == identity(50));
}

TEST_CASE("the last batch is kept, or dropped when that is asked") {
  const Sampler keeping({.num_samples = 20, .batch_size = 8});
  REQUIRE(keeping.num_batches() == 3);
  CHECK(keeping.batch(0).size() == 8);
  CHECK(keeping.batch(1).size() == 8);
  CHECK(keeping.batch(2).size() == 4);

  const Sampler dropping({.num_samples = 20, .batch_size = 8, .drop_remainder = true});
  REQUIRE(dropping.num_batches() == 2);
  CHECK(dropping.batch(1).size() == 8);

  const auto num_batches = [](std::int64_t num_samples, bool drop_remainder) {
    return Sampler({.num_samples = num_samples, .batch_size = 8, .drop_remainder = drop_remainder})
        .num_batches();
  };
  CHECK(num_batches(16, false) == 2);
  CHECK(num_batches(16, true) == 2);
  CHECK(num_batches(7, false) == 1);
  CHECK(num_batches(7, true) == 0);
  CHECK(num_batches(0, false) == 0);
}

TEST_CASE("epochs share their storage") {
  Sampler sampler({.num_samples = 100, .batch_size = 10});
  const std::int64_t* const first = sampler.batch(0).data();
  sampler.start_epoch(1);
  CHECK(sampler.batch(0).data() == first);
}

TEST_CASE("impossible batches and shards are refused") {
  CHECK_THROWS_AS(Sampler({.num_samples = -1}), ArgumentError);
  CHECK_THROWS_AS(Sampler({.num_samples = 5, .batch_size = 0}), ArgumentError);
  const Sampler sampler({.num_samples = 20, .batch_size = 8});
  CHECK_THROWS_AS(sampler.batch(-1), ArgumentError);
  CHECK_THROWS_AS(sampler.batch(3), ArgumentError);
  CHECK_THROWS_AS(sampler.batch(2, Shard{.first = 0, .count = 5}), ArgumentError);
  CHECK_THROWS_AS(sampler.batch(2, Shard{.first = -1, .count = 2}), ArgumentError);
  CHECK_THROWS_AS(sampler.batch(2, Shard{.first = 5, .count = 0}), ArgumentError);
  CHECK(sampler.batch(2, Shard{.first = 4, .count = 0}).empty());
}

// The merges of one training step under SimGrid's simulated MPI: one message per layer and
// direction, as lockstep sends them, and the same sums in one message per quantity.
//
// Prints the number of ranks, then seconds and collectives of a step for the one and for the other.
// Only messages take time: ranks arrive together, and computing costs nothing.

#include <mpi.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <initializer_list>
#include <optional>
#include <span>
#include <stdexcept>
#include <vector>

#include "comm/exchange.hpp"
#include "lockstep/comm/collectives.hpp"
#include "lockstep/comm/communicator.hpp"
#include "lockstep/comm/environment.hpp"
#include "lockstep/comm/watchdog.hpp"
#include "norm/affine.hpp"
#include "stats/moments.hpp"

namespace {

using namespace lockstep;

/// Layers of batch normalization that have equally many channels.
struct Width {
  std::size_t num_channels;
  int num_layers;
};

// ResNet-50 (He et al. 2015, arXiv 1512.03385, table 1): a layer behind each of 53 convolutions.
// Its four stages have 3, 4, 6 and 3 blocks of three convolutions, the first block also a shortcut.
constexpr std::array<Width, 6> resnet50{{{64, 1 + 2 * 3},
                                         {128, 2 * 4},
                                         {256, 3 + 1 + 2 * 6},
                                         {512, 4 + 1 + 2 * 3},
                                         {1024, 6 + 1},
                                         {2048, 3 + 1}}};

struct Cost {
  double seconds = 0.0;
  std::int64_t num_collectives = 0;
};

// What a rank contributes and what all contribute: whole numbers, so that sums are exact.
double contribution_of(int rank, std::size_t place) {
  return (rank + 1.0) * static_cast<double>(place % 7 + 1);
}
double total_of(int num_ranks, std::size_t place) {
  return 0.5 * num_ranks * contribution_of(num_ranks, place);
}

/// Adds `num_layers` times what `merge` costs, which sums `sums` up over the ranks of `group`.
template <class Merge>
void add_cost(Cost& step, int num_layers, const Communicator& group, std::span<double> sums,
              Merge&& merge) {
  for (std::size_t place = 0; place < sums.size(); ++place)
    sums[place] = contribution_of(group.rank(), place);
  const std::int64_t num_before = total_traffic().num_messages;
  const double start = MPI_Wtime();
  merge();
  step.seconds += num_layers * (MPI_Wtime() - start);
  step.num_collectives += num_layers * (total_traffic().num_messages - num_before);
  for (std::size_t place = 0; place < sums.size(); ++place)
    if (sums[place] != total_of(group.size(), place)) throw std::runtime_error("a sum is wrong");
}

/// All sums of a layer and the status of the ranks in one message.
Cost packed_step(const Communicator& world) {
  Cost step;
  for (const Width& width : resnet50)
    for (const std::size_t length :
         {sums_length(width.num_channels), gradient_sums_length(width.num_channels, false)}) {
      Exchange exchange(world, "layer", "merge", length);
      add_cost(step, width.num_layers, exchange.group(), exchange.payload(),
               [&] { exchange.merge(-1, std::nullopt); });
    }
  return step;
}

/// Each kind of sum in a message of its own, without status.
Cost separate_step(const Communicator& world) {
  Cost step;
  const auto merge = [&](std::initializer_list<std::span<double>> parts) {
    for (const std::span<double> part : parts) allreduce(world, part, Reduction::sum);
  };
  for (const Width& width : resnet50) {
    std::vector<double> forward(sums_length(width.num_channels));
    const SumsView sums = sums_in(forward);
    add_cost(step, width.num_layers, world, forward, [&] {
      merge({sums.count, sums.sum, sums.sum_squares});
    });
    std::vector<double> backward(gradient_sums_length(width.num_channels, false));
    const GradientSumsView gradients = gradient_sums_in(backward, false);
    add_cost(step, width.num_layers, world, backward, [&] {
      merge({gradients.output, gradients.normalized});
    });
  }
  return step;
}

}  // namespace

int main(int argc, char** argv) try {
  // Blocking calls: what is simulated is not the algorithm that a nonblocking one would take.
  set_watchdog(Communicator(), {.stall_timeout = std::chrono::seconds(0)});
  const Environment environment(argc, argv);
  const Communicator world = Communicator::world();
  std::array<double, 1> first{};  // SMPI prepares some algorithms in their first call
  allreduce(world, first, Reduction::sum);
  const Cost packed = packed_step(world);
  const Cost separate = separate_step(world);
  std::array<double, 2> seconds{packed.seconds, separate.seconds};
  allreduce(world, seconds, Reduction::maximum);
  if (world.rank() == 0)
    std::printf("%d %.9f %lld %.9f %lld\n", world.size(), seconds[0],
                static_cast<long long>(packed.num_collectives), seconds[1],
                static_cast<long long>(separate.num_collectives));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "error: %s\n", error.what());
  return 1;
}

// An MPI program of its own puts one synchronized layer between two of its arrays, without a copy.

#include <lockstep/comm/mpi.hpp>
#include <lockstep/layers/batch_normalization.hpp>

#include <cmath>
#include <cstdio>
#include <exception>
#include <vector>

namespace ls = lockstep;

namespace {

// Rank r holds r + 1 images; the statistics are those of all images of all ranks.
int run() {
  const ls::Communicator group = ls::duplicate(MPI_COMM_WORLD);
  const int n = group.rank() + 1, c = 3, h = 4, w = 4;
  const ls::Shape shape{n, c, h, w};
  std::vector<float> x(static_cast<std::size_t>(n * c * h * w)), y(x.size()), dx(x.size());
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = 1000.0F + static_cast<float>(group.rank()) + static_cast<float>(i % 7);

  ls::BatchNormalization layer({.axis = 1, .synchronized = true});
  layer.build(shape, group);
  ls::BatchNormalizationTape tape;  // kept over the steps: no allocation after the first
  for (int step = 0; step < 2; ++step) {
    layer.forward(ls::view(x, shape), ls::view(y, shape),
                  {.mode = ls::Mode::training, .tape = &tape});
    layer.backward(tape, ls::view(y, shape), ls::view(dx, shape));
  }

  // y has mean 0 over all ranks, so the global gradient of beta for dy = y is 0.
  const double gradient = layer.beta().grad().values<float>()[0];
  if (group.rank() == 0)
    std::printf("%g elements per channel on %d ranks: mean %.6f, variance %.6f\n",
                tape.batch_count()[0], group.size(), tape.batch_mean()[0],
                tape.batch_variance()[0]);
  const double expected_count = h * w * group.size() * (group.size() + 1) / 2;
  return tape.batch_count()[0] == expected_count && std::abs(gradient) < 1e-2 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int status = 1;
  try {
    status = run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return status;
}

// Sums and offsets per channel.

#include "kernels/channels.hpp"

#include <vector>

#include "support/catch.hpp"

using namespace lockstep;

TEST_CASE("offsets and sums reach every element of their channel", "[kernels]") {
  const Columns columns = GENERATE(Columns{5, 3, 1}, Columns{2, 3, 4}, Columns{1, 1, 7},
                                   Columns{0, 3, 2}, Columns{4, 0, 2});
  const auto num_channels = static_cast<std::size_t>(columns.channels);
  std::vector<double> values(num_channels * static_cast<std::size_t>(columns.num_per_channel()),
                             1.0);
  std::vector<double> offsets(num_channels), sums(num_channels, 7.0), expected(num_channels);
  for (std::size_t c = 0; c < num_channels; ++c) {
    offsets[c] = static_cast<double>(c);
    expected[c] = 7.0 + static_cast<double>(columns.num_per_channel()) * (1.0 + offsets[c]);
  }
  add_to_channels(columns, offsets.data(), values.data());
  add_channel_sums(columns, values.data(), sums.data());
  CHECK(sums == expected);
}

TEST_CASE("floats are summed in double", "[kernels]") {
  // 2^24 + 1 + 1 + ... stays at 2^24 in float.
  std::vector<float> values(1001, 1.0F);
  values[0] = 16777216.0F;
  double sum = 0.0;
  add_channel_sums(Columns{1001, 1, 1}, values.data(), &sum);
  CHECK(sum == 16778216.0);
}

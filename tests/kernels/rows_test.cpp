#include "kernels/rows.hpp"

#include <vector>

#include "support/catch.hpp"

using namespace lockstep;

TEST_CASE("the sum of rows is that of each column, for any number of columns") {
  for (const std::int64_t num_columns : {0, 1, 3, 64, 65, 200}) {
    CAPTURE(num_columns);
    constexpr std::int64_t num_rows = 5;
    std::vector<double> matrix(static_cast<std::size_t>(num_rows * num_columns), 1.0);
    std::vector<double> row(static_cast<std::size_t>(num_columns));
    for (std::size_t column = 0; column < row.size(); ++column)
      row[column] = static_cast<double>(column);
    add_to_rows(row.data(), matrix.data(), num_rows, num_columns);

    std::vector<double> sums(row.size(), 7.0);
    sum_rows(matrix.data(), num_rows, num_columns, sums.data());
    std::vector<double> expected(row.size());
    for (std::size_t column = 0; column < row.size(); ++column)
      expected[column] = 5.0 * (1.0 + static_cast<double>(column));
    CHECK(sums == expected);

    sum_rows(matrix.data(), num_rows, num_columns, sums.data(), Result::accumulate);
    for (double& value : expected) value *= 2.0;
    CHECK(sums == expected);
  }
}

TEST_CASE("float columns are summed in double") {
  // 2^24 + 1 + 1 + ... stays at 2^24 in float.
  std::vector<float> column(1001, 1.0F);
  column[0] = 16777216.0F;
  float sum = 0.0F;
  sum_rows(column.data(), 1001, 1, &sum);
  CHECK(sum == 16778216.0F);
}

TEST_CASE("the sum of no rows is zero") {
  std::vector<float> sums{3.0F, 4.0F};
  sum_rows<float>(nullptr, 0, 2, sums.data(), Result::accumulate);
  CHECK(sums == std::vector<float>{3.0F, 4.0F});
  sum_rows<float>(nullptr, 0, 2, sums.data());
  CHECK(sums == std::vector<float>{0.0F, 0.0F});
}

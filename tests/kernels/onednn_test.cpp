// Threads and errors of oneDNN.

#include "kernels/onednn.hpp"

#include <cstdlib>

#include "kernels/multiplier.hpp"
#include "lockstep/base/error.hpp"
#include "support/catch.hpp"

extern "C" {
int omp_get_max_threads();
void omp_set_num_threads(int num_threads);
}

using namespace lockstep;

TEST_CASE("oneDNN takes one thread unless the user says otherwise, and leaves OpenMP alone") {
  const int before = omp_get_max_threads();
  omp_set_num_threads(3);
  {
    const onednn::ThreadLimit limit;
    CHECK(onednn::ThreadLimit::num_threads() ==
          (std::getenv("OMP_NUM_THREADS") == nullptr ? 1 : 3));
  }
  CHECK(omp_get_max_threads() == 3);
  const std::vector<float> values(35, 1.0F);
  std::vector<float> result(49);
  const MatrixView<float> matrix{values.data(), 5, 7};
  Multiplier().multiply(transposed(matrix), matrix, nullptr, result.data());
  CHECK(result == std::vector<float>(49, 5.0F));
  CHECK(omp_get_max_threads() == 3);
  omp_set_num_threads(before);
}

TEST_CASE("errors of oneDNN say what failed and where") {
  const auto with = [](dnnl_status_t status) {
    onednn::translate_errors("the test", [&] { throw dnnl::error(status, "some function"); });
  };
  CHECK_THROWS_AS(with(dnnl_out_of_memory), MemoryError);
  CHECK_THROWS_AS(with(dnnl_runtime_error), ForeignError);
  CHECK_THROWS_WITH(with(dnnl_invalid_arguments),
                    Catch::Contains("oneDNN failed in the test") && Catch::Contains("invalid"));
}

// The benchmark's reference accepts what the layer gives and nothing else.

#include <cmath>

#include "bench/reference.hpp"
#include "bench/subject.hpp"
#include "support/catch.hpp"

using namespace lockstep;

namespace {

const Communicator solo;
const Workload workload{{4, 3, 5, 2}, Layout::nchw, DType::float32};

Problem problem_of(const Buffers& buffers, const SubjectOptions& options) {
  return {.workload = workload,
          .buffers = &buffers,
          .group = &solo,
          .has_relu = options.has_relu,
          .has_residual = options.has_residual};
}

}  // namespace

TEST_CASE("the layer is right, however it is fused") {
  for (const SubjectOptions& options :
       {SubjectOptions{}, SubjectOptions{.is_synchronized = true}, SubjectOptions{.has_relu = true},
        SubjectOptions{.has_relu = true, .has_residual = true}})
    for (const Layout layout : {Layout::nhwc, Layout::nchw}) {
      Workload other = workload;
      other.layout = layout;
      Buffers buffers(other, 0);
      const Subject::Wrong wrong = Subject(other, options, buffers, solo).check(solo);
      CHECK(wrong.forward == 0);
      CHECK(wrong.backward == 0);
      CHECK(wrong.inference == 0);
    }
}

TEST_CASE("each wrong element of y counts, NaN too") {
  for (const bool has_relu : {false, true}) {
    const SubjectOptions options{.has_relu = has_relu};
    Buffers buffers(workload, 0);
    Subject subject(workload, options, buffers, solo);
    subject.forward();
    const Reference reference(problem_of(buffers, options));
    REQUIRE(reference.num_wrong_outputs() == 0);
    buffers.y.view().values<float>()[7] += 1e-3F;
    CHECK(reference.num_wrong_outputs() == 1);
    buffers.y.view().values<float>()[8] = NAN;
    CHECK(reference.num_wrong_outputs() == 2);
  }
}

TEST_CASE("a layer that leaves out relu or the residual is wrong") {
  Buffers buffers(workload, 0);
  Subject subject(workload, {}, buffers, solo);
  subject.forward();
  const Reference with_relu(problem_of(buffers, {.has_relu = true}));
  const Reference with_residual(problem_of(buffers, {.has_relu = true, .has_residual = true}));
  CHECK(with_relu.num_wrong_outputs() > 20);
  CHECK(with_residual.num_wrong_outputs() > 60);
}

TEST_CASE("wrong statistics and gradients count") {
  Buffers buffers(workload, 0);
  Subject subject(workload, {}, buffers, solo);
  subject.forward();
  subject.backward();
  const Reference reference(problem_of(buffers, {}));
  const Tensor zeros(Shape{3});
  CHECK(reference.num_wrong_moving(zeros, zeros) == 6);
  CHECK(reference.num_wrong_gradients(zeros, zeros) == 6);
  buffers.dx.view().values<float>()[119] += 1e-3F;
  CHECK(reference.num_wrong_gradients(zeros, zeros) == 7);
}

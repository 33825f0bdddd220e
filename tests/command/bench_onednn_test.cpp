// What the benchmark lets oneDNN compute is what the layer computes.

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "bench/onednn_candidates.hpp"
#include "bench/onednn_normalization.hpp"
#include "bench/subject.hpp"
#include "support/catch.hpp"

using namespace lockstep;

namespace {

std::vector<float> elements_of(const Buffer& buffer) {
  const auto values = buffer.view().values<float>();
  return {values.begin(), values.end()};
}

void forget(const Buffer& buffer) {
  std::ranges::fill(buffer.view().values<float>(), std::numeric_limits<float>::quiet_NaN());
}

void check_close(const std::vector<float>& found, const std::vector<float>& expected) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    CHECK(std::abs(found[i] - expected[i]) <= 1e-4F * (1.0F + std::abs(expected[i])));
}

void check_agreement(const Workload& workload, OneDnnMemory memory) {
  Buffers buffers(workload, 0);
  Subject subject(workload, {}, buffers, Communicator());
  subject.forward();
  subject.backward();
  const auto y = elements_of(buffers.y), dx = elements_of(buffers.dx);
  forget(buffers.y);
  forget(buffers.dx);
  OneDnnNormalization onednn(workload, buffers, memory);
  onednn.forward();
  onednn.backward();
  onednn.export_results();
  check_close(elements_of(buffers.y), y);
  check_close(elements_of(buffers.dx), dx);
}

std::vector<std::string> names_of(const Workload& workload) {
  Buffers buffers(workload, 0);
  std::vector<std::string> names;
  for (const Candidate& candidate : onednn_candidates(workload, buffers))
    names.push_back(candidate.name);
  return names;
}

}  // namespace

TEST_CASE("oneDNN computes what the layer does, in every layout") {
  check_agreement({{5, 7, 3, 4}, Layout::nhwc}, OneDnnMemory::shared);
  check_agreement({{5, 7, 3, 4}, Layout::nchw}, OneDnnMemory::shared);
  check_agreement({{5, 32, 3, 4}, Layout::nchw}, OneDnnMemory::blocked);
  check_agreement({{33, 17}, Layout::nc}, OneDnnMemory::shared);
}

TEST_CASE("oneDNN takes part in float32, in blocks only where channels fill them") {
  const std::vector<std::string> plain{"onednn forward", "onednn backward"};
  const std::vector<std::string> both{"onednn forward", "onednn backward", "onednn blocked forward",
                                      "onednn blocked backward"};
  CHECK(names_of({{2, 16, 3, 3}, Layout::nchw}) == both);
  CHECK(names_of({{2, 17, 3, 3}, Layout::nchw}) == plain);
  CHECK(names_of({{2, 16, 3, 3}, Layout::nhwc}) == plain);
  CHECK(names_of({{2, 16}, Layout::nc}) == plain);
  CHECK(names_of({{2, 16, 3, 3}, Layout::nchw, DType::bfloat16}).empty());
}

#include "bench/onednn_candidates.hpp"

#include <memory>

#include "bench/onednn_normalization.hpp"
#include "lockstep/base/error.hpp"

namespace {

void add(const std::string& prefix, const Workload& workload, Buffers& buffers, OneDnnMemory memory,
         std::vector<Candidate>& candidates) {
  const auto normalization = std::make_shared<OneDnnNormalization>(workload, buffers, memory);
  candidates.push_back({prefix + "forward", [=] { normalization->forward(); }});
  candidates.push_back({prefix + "backward", [=] { normalization->backward(); }});
}

}  // namespace

bool has_onednn() noexcept { return true; }

std::vector<Candidate> onednn_candidates(const Workload& workload, Buffers& buffers) {
  std::vector<Candidate> candidates;
  if (workload.dtype != lockstep::DType::float32) return candidates;
  try {
    add("onednn ", workload, buffers, OneDnnMemory::shared, candidates);
    if (workload.layout == Layout::nchw && workload.num_channels() % 16 == 0)
      add("onednn blocked ", workload, buffers, OneDnnMemory::blocked, candidates);
  } catch (const dnnl::error& error) {
    throw lockstep::ForeignError(std::string("oneDNN failed: ") + error.what());
  }
  return candidates;
}

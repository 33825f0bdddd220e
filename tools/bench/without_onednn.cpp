// In place of onednn_candidates.cpp, where the build has no oneDNN.

#include "bench/onednn_candidates.hpp"

bool has_onednn() noexcept { return false; }

std::vector<Candidate> onednn_candidates(const Workload&, Buffers&) { return {}; }

// Whether a case passes, in all its precisions and cuts.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "conformance/case.hpp"
#include "lockstep/comm/communicator.hpp"

namespace lockstep::conformance {

enum class Verdict : std::uint8_t {
  passed,
  failed,
  skipped,  ///< an optional case that cannot be run
};

/// A run that was right.
struct RunRecord {
  DType precision = DType::float32;
  std::string cut;
  double worst = 0.0;  ///< largest deviation in units of its tolerance
};

struct Judgement {
  std::string id;
  Verdict verdict = Verdict::passed;
  std::string reason;           ///< of a case that did not pass
  std::vector<RunRecord> runs;  ///< up to the first that failed
};

/// Runs the case in each of `precisions` with every cut for the ranks of `world`. Equal on all
/// ranks. Collective.
[[nodiscard]] Judgement judge(const Communicator& world, const Case& one,
                              const std::vector<DType>& precisions);

/// "passed".
[[nodiscard]] std::string to_string(Verdict verdict);

}  // namespace lockstep::conformance

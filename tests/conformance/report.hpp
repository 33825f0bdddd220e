// What the runner says about all cases.

#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "conformance/judgement.hpp"

namespace lockstep::conformance {

/// "7 passed, 1 failed, 0 skipped".
[[nodiscard]] std::string summary_of(const std::vector<Judgement>& judgements);

/// Writes the judgements, with the deviations of all runs, as a JSON object. Throws DataError when
/// that fails.
void write_report(const std::filesystem::path& file, int num_ranks,
                  const std::vector<Judgement>& judgements);

}  // namespace lockstep::conformance

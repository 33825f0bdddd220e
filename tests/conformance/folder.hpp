// Reads conformance cases: <group>.json with <group>.bin beside it.

#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "conformance/case.hpp"

namespace lockstep::conformance {

/// The cases of a folder's groups, in the order of their names; of all groups when `groups` is
/// empty. Throws DataError when a file is missing or does not have the format, or when there is no
/// case. What has the format and is unknown all the same becomes an objection of its case.
[[nodiscard]] std::vector<Case> cases_in(const std::filesystem::path& folder,
                                         const std::vector<std::string>& groups);

}  // namespace lockstep::conformance

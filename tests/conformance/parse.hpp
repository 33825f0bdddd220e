// From JSON to cases.

#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "conformance/case.hpp"

namespace lockstep::conformance {

/// JSON that is not what the format says.
class FormatError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// File name of a group's blob. Throws FormatError unless `group` is one of "bn-cases 1".
[[nodiscard]] std::string blob_name_of(const nlohmann::json& group);

/// The cases of a group; what is wrong with one, as an array that the blob does not hold, is its
/// damage. Throws an exception of the JSON library where there is no list of named cases.
[[nodiscard]] std::vector<Case> parse_group(const nlohmann::json& group,
                                            const std::shared_ptr<const std::string>& blob);

}  // namespace lockstep::conformance

// What a person may have meant.

#pragma once

#include <string>
#include <vector>

/// "; did you mean 'epochs'?" for a name that is close to one of the known ones, otherwise nothing.
[[nodiscard]] std::string suggestion_for(const std::string& name,
                                         const std::vector<std::string>& known);

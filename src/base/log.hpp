// Diagnostics for people, on stderr; results never go through here.

#pragma once

#include <string_view>

namespace lockstep {

void log_warning(std::string_view message);
void log_info(std::string_view message);

}  // namespace lockstep

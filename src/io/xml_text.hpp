// Makes any text safe within XML.

#pragma once

#include <string>
#include <string_view>

namespace lockstep {

/// The text with XML's own characters escaped; what XML 1.0 cannot hold (bytes that are not UTF-8,
/// control characters) becomes U+FFFD.
[[nodiscard]] std::string xml_text(std::string_view text);

}  // namespace lockstep

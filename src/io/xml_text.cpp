#include "io/xml_text.hpp"

#include <nlohmann/json.hpp>

namespace lockstep {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

// JSON's writer knows UTF-8: through it and back, invalid bytes are replaced.
std::string valid_utf8(std::string_view text) {
  using Json = nlohmann::json;
  const std::string quoted = Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
  return Json::parse(quoted).get<std::string>();
}

}  // namespace

std::string xml_text(std::string_view text) {
  std::string result;
  for (const char c : valid_utf8(text)) {
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&apos;";
        break;
      case '\t':
      case '\n':
        result += c;
        break;
      default:
        result += byte < 0x20 ? replacement : std::string_view(&c, 1);
    }
  }
  return result;
}

}  // namespace lockstep

#include "layers/json.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <set>
#include <vector>

#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

// Far more than configurations have; searching an object's keys takes time linear in their number.
constexpr int max_depth = 64;
constexpr std::size_t max_keys = 1000;

// Judges a text while it is read. The parser itself lets the last of several equal keys win.
class Judge {
 public:
  bool operator()(int depth, Json::parse_event_t event, const Json& value) {
    if (depth > max_depth)
      throw ArgumentError(fmt::format("it is nested deeper than {} levels", max_depth));
    if (event == Json::parse_event_t::object_start) keys_.emplace_back();
    if (event == Json::parse_event_t::object_end) keys_.pop_back();
    if (event == Json::parse_event_t::key) add(value.get_ref<const std::string&>());
    return true;
  }

 private:
  void add(const std::string& key) {
    if (!keys_.back().insert(key).second)
      throw ArgumentError(fmt::format("the key '{}' comes twice", key));
    if (keys_.back().size() > max_keys)
      throw ArgumentError(fmt::format("an object has more than {} keys", max_keys));
  }

  std::vector<std::set<std::string>> keys_;  // of the objects around the present place
};

// A value for an error message, long ones cut.
std::string excerpt_of(const Json& json) {
  constexpr std::size_t width = 80;
  const std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() <= width ? text : text.substr(0, width) + "...";
}

// What went wrong, without the library's number for it, "[json.exception.parse_error.101] ".
std::string_view message_of(const Json::exception& error) {
  const std::string_view text = error.what();
  return text.substr(std::min(text.find("] ") + 2, text.size()));
}

}  // namespace

Json parsed(std::string_view text, std::string_view what) try {
  return Json::parse(text,
                     [judge = Judge()](int depth, Json::parse_event_t event, Json& value) mutable {
                       return judge(depth, event, value);
                     });
} catch (const Json::exception& error) {
  throw ArgumentError(fmt::format("{} is no JSON: {}", what, message_of(error)));
} catch (const ArgumentError& error) {
  throw ArgumentError(fmt::format("{} is refused: {}", what, error.what()));
}

std::string text_of(const Json& json, std::string_view what) try {
  return json.dump();
} catch (const Json::type_error&) {
  throw ArgumentError(fmt::format("{} holds text that is not UTF-8; give names in UTF-8", what));
}

void refuse(std::string_view where, std::string_view expected, const Json& got) {
  throw ArgumentError(fmt::format("{}: expected {}, got {}", where, expected, excerpt_of(got)));
}

void require_keys(const Json& json, std::string_view where,
                  std::span<const std::string_view> known) {
  if (!json.is_object()) refuse(where, "an object", json);
  for (const auto& [key, value] : json.items())
    if (std::ranges::find(known, key) == known.end())
      throw ArgumentError(
          fmt::format("{}: there is no '{}'; known are: {}", where, key, fmt::join(known, ", ")));
}

void require_keys(const Json& json, std::string_view where,
                  std::initializer_list<std::string_view> known) {
  require_keys(json, where, std::span(known.begin(), known.size()));
}

const Json& required(const Json& json, std::string_view where, std::string_view key) {
  if (!json.is_object()) refuse(where, "an object", json);
  const auto found = json.find(key);
  if (found == json.end()) refuse(where, fmt::format("the key '{}'", key), json);
  return *found;
}

}  // namespace lockstep

// JSON texts read strictly: what is not exactly as expected is refused, and the place named.

#pragma once

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

namespace lockstep {

/// Objects keep their keys in the order in which they were written.
using Json = nlohmann::ordered_json;

/// The value that `text` stands for. Throws ArgumentError, which begins with `what`, for text that
/// is malformed, repeats a key within an object or nests deeper than any configuration.
[[nodiscard]] Json parsed(std::string_view text, std::string_view what);

/// The value on one line. Throws ArgumentError, which begins with `what`, for text that is not
/// UTF-8.
[[nodiscard]] std::string text_of(const Json& json, std::string_view what);

/// Throws ArgumentError, "Dense.units: expected an integer, got true".
[[noreturn]] void refuse(std::string_view where, std::string_view expected, const Json& got);

/// Throws ArgumentError unless `json` is an object with no other keys than these.
void require_keys(const Json& json, std::string_view where,
                  std::span<const std::string_view> known);
void require_keys(const Json& json, std::string_view where,
                  std::initializer_list<std::string_view> known);

/// The value of `key`. Throws ArgumentError when there is none.
[[nodiscard]] const Json& required(const Json& json, std::string_view where, std::string_view key);

}  // namespace lockstep

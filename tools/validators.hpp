// What the values of options must be.

#pragma once

#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdint>
#include <string>

/// Numbers of a range; `what` says in words what is expected. CLI11's own range lets NaN through
/// and cuts what overflows.
template <class T>
[[nodiscard]] CLI::Validator number_in(T least, T greatest, const std::string& what) {
  const auto check = [=](const std::string& text) {
    T value{};
    const char* const end = text.data() + text.size();
    const auto result = std::from_chars(text.data(), end, value);
    const bool is_number = result.ec == std::errc() && result.ptr == end;
    return is_number && value >= least && value <= greatest
               ? std::string()
               : fmt::format("expected {}, got '{}'", what, text);
  };
  return {check, ""};
}

/// Times that a clock can hold; 0 often stands for no limit.
[[nodiscard]] inline CLI::Validator seconds() {
  return number_in(0.0, 1e9, "a number of seconds from 0 to 1e9");
}

/// Whole numbers. Beyond the greatest a count is a slip, and products of counts might overflow.
[[nodiscard]] inline CLI::Validator count_from(std::int64_t least) {
  constexpr std::int64_t greatest = 1'000'000'000;
  return number_in(least, greatest, fmt::format("a whole number from {} to {}", least, greatest));
}

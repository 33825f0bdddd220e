// A group of one case whose numbers are exact, to be changed by tests.

#pragma once

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace lockstep::conformance {

/// One case: two samples 0 and 2 of one channel have mean 1 and variance 1, hence y -1 and 1.
inline nlohmann::json small_group() {
  using nlohmann::json;
  const auto array = [](int num_values, int offset) {
    return json{{"dtype", "f64"}, {"shape", {num_values, 1}}, {"offset", offset}};
  };
  const auto expectation = [&](int num_values, int offset) {
    const json exact{{"f32", {0, 0}}, {"f64", {0, 0}}};
    return json{{"array", array(num_values, offset)}, {"origin", "S"}, {"tol", exact}};
  };
  const json step{{"training", true},
                  {"trainable", true},
                  {"times", 1},
                  {"sgd_lr", nullptr},
                  {"momentum", nullptr},
                  {"in", {{"x", array(2, 0)}}},
                  {"expect", {{"y", expectation(2, 16)}, {"batch_mean", expectation(1, 32)}}}};
  const json one{
      {"id", "small/one"},
      {"tags", json::array()},
      {"opts", {{"axis", -1}, {"epsilon", 0}, {"momentum", 0.5}, {"activation", nullptr}}},
      {"init", json::object()},
      {"split_axis", 0},
      {"splits", {{2}, {1, 1}}},
      {"run", {"f32", "f64"}},
      {"steps", {step}}};
  return {{"format", "bn-cases 1"}, {"group", "small"}, {"blob", "small.bin"}, {"cases", {one}}};
}

inline std::string bytes_of(const std::vector<double>& values) {
  std::string bytes(values.size() * sizeof(double), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// The blob of the small group.
inline const std::string right_blob = bytes_of({0.0, 2.0, -1.0, 1.0, 1.0});

inline nlohmann::json& the_case(nlohmann::json& group) { return group.at("cases").at(0); }
inline nlohmann::json& the_step(nlohmann::json& group) { return the_case(group).at("steps").at(0); }

}  // namespace lockstep::conformance

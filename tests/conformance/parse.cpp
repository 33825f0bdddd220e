#include "conformance/parse.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <span>

#include "conformance/options.hpp"

namespace lockstep::conformance {
namespace {

using Json = nlohmann::json;

std::int64_t count_of(const Json& json, const char* what) {
  if (!json.is_number_integer() || json.get<std::int64_t>() < 0)
    throw FormatError(fmt::format("{} must be a count, got {}", what, json.dump()));
  return json.get<std::int64_t>();
}

std::vector<std::int64_t> counts_of(const Json& json, const char* what) {
  std::vector<std::int64_t> counts;
  for (const Json& count : json) counts.push_back(count_of(count, what));
  return counts;
}

DType dtype_of(const std::string& name) {
  for (const DType dtype : {DType::float32, DType::float64})
    if (name == name_in_format(dtype)) return dtype;
  throw FormatError(fmt::format("expected the dtype f32 or f64, got '{}'", name));
}

// The member `key` of an object, which may be missing or null.
template <class T>
std::optional<T> member(const Json& json, const char* key) {
  if (!json.contains(key) || json.at(key).is_null()) return std::nullopt;
  return json.at(key).get<T>();
}

// Variables of the layer whose names the format shortens.
std::string variable_name_of(const std::string& name) {
  return name == "biased" || name == "local_step" ? "moving_mean/" + name : name;
}

const std::set<std::string> known_variables{
    "gamma",       "beta",          "moving_mean",        "moving_variance",       "moving_stddev",
    "renorm_mean", "renorm_stddev", "moving_mean/biased", "moving_mean/local_step"};
const std::set<std::string> known_inputs{"x",         "dy",      "mask", "batch_weights",
                                         "adj_scale", "adj_bias"};
const std::set<std::string> known_results{"y",        "dx",           "dgamma",
                                          "dbeta",    "batch_mean",   "batch_variance",
                                          "reg_loss", "dgamma_total", "dbeta_total"};
const std::set<std::string> known_in_step{"training", "trainable", "times",  "sgd_lr",
                                          "momentum", "in",        "expect", "note"};

// Other systems may list variables that the options turn off.
bool has_variable(const BatchNormalizationOptions& options, const std::string& name) {
  if (name == "gamma") return options.scale;
  if (name == "beta") return options.center;
  if (name.starts_with("moving_mean/")) return options.zero_debias_moving_mean;
  if (name.starts_with("renorm_") || name == "moving_stddev") return options.renorm;
  return true;
}

class Parser {
 public:
  Parser(std::string group, std::shared_ptr<const std::string> blob)
      : group_(std::move(group)), blob_(std::move(blob)) {}

  // What is wrong with one case must not keep the others from being judged.
  [[nodiscard]] Case parse(const Json& json) const {
    Case result;
    result.id = json.at("id").get<std::string>();
    result.group = group_;
    try {
      parse_into(result, json);
    } catch (const std::exception& error) {
      result.damage = error.what();
      result.precisions = {DType::float32, DType::float64};  // to be judged in any
    }
    return result;
  }

 private:
  void parse_into(Case& result, const Json& json) const {
    const auto tags = member<std::set<std::string>>(json, "tags").value_or(std::set<std::string>());
    result.is_optional = tags.contains("optional");
    for (const Json& name : json.at("run"))
      result.precisions.push_back(dtype_of(name.get<std::string>()));
    if (result.precisions.empty()) throw FormatError("it has no precision to run in");
    result.options = options_of(json.at("opts"), result.objections);
    for (const auto& [key, array] : json.at("init").items()) {
      const std::string name = variable_name_of(key);
      if (!array.is_null() && is_known(known_variables, name, "variable", result.objections) &&
          has_variable(result.options, name))
        result.variables.emplace(name, array_of(array));
    }
    const Json splits = member<Json>(json, "splits").value_or(Json::array());
    for (const Json& sizes : splits) result.splits.push_back(counts_of(sizes, "a split"));
    for (const Json& step : json.at("steps"))
      result.steps.push_back(step_of(step, result.precisions, result.objections));
    if (result.steps.empty()) throw FormatError("it has no steps");

    const int rank = result.steps.front().inputs.at("x").shape.rank();
    const int axis = member<int>(json, "split_axis").value_or(0);
    result.split_axis = axis < 0 ? axis + rank : axis;
    if (result.split_axis < 0 || result.split_axis >= rank)
      throw FormatError(fmt::format("its input has no axis {} to split", axis));
  }

  [[nodiscard]] Step step_of(const Json& json, const std::vector<DType>& precisions,
                             std::vector<std::string>& objections) const {
    for (const auto& [key, value] : json.items())
      (void)is_known(known_in_step, key, "entry of a step", objections);
    Step step;
    step.is_training = json.at("training").get<bool>();
    step.is_trainable = member<bool>(json, "trainable").value_or(true);
    step.times = member<int>(json, "times").value_or(1);
    if (step.times < 1) throw FormatError("a step must be run at least once");
    step.learning_rate = member<double>(json, "sgd_lr");
    step.momentum = member<double>(json, "momentum");
    for (const auto& [key, array] : json.at("in").items())
      if (!array.is_null() && is_known(known_inputs, key, "input", objections))
        step.inputs.emplace(key, array_of(array));
    if (!step.inputs.contains("x")) throw FormatError("a step has no input x");
    const Json expected = member<Json>(json, "expect").value_or(Json::object());
    for (const auto& [key, expectation] : expected.items()) {
      const std::string name = variable_name_of(key);
      if (expectation.is_null()) continue;
      if (known_results.contains(name) ||
          is_known(known_variables, name, "expectation", objections))
        step.expectations.emplace(name, expectation_of(expectation, precisions));
    }
    return step;
  }

  [[nodiscard]] Expectation expectation_of(const Json& json,
                                           const std::vector<DType>& precisions) const {
    Expectation expectation{array_of(json.at("array")), {}};
    for (const DType precision : precisions) {
      const auto pair = json.at("tol").at(name_in_format(precision)).get<std::array<double, 2>>();
      expectation.tolerances[precision] = {pair[0], pair[1]};
    }
    return expectation;
  }

  [[nodiscard]] StoredArray array_of(const Json& json) const {
    StoredArray array;
    array.blob = blob_;
    array.dtype = dtype_of(json.at("dtype").get<std::string>());
    array.shape = Shape(std::span<const std::int64_t>(counts_of(json.at("shape"), "an extent")));
    const std::int64_t offset = count_of(json.at("offset"), "an offset");
    array.offset = static_cast<std::size_t>(offset);
    array.num_repeats = member<std::int64_t>(json, "repeat").value_or(1);
    if (array.num_repeats < 1 || !array.shape.is_valid() ||
        array.shape.num_elements() % array.num_repeats != 0)
      throw FormatError(fmt::format("an array of shape {} cannot repeat {} times",
                                    to_string(array.shape), array.num_repeats));
    const std::int64_t num_stored = array.shape.num_elements() / array.num_repeats;
    const auto num_bytes = static_cast<std::int64_t>(blob_->size());
    if (offset > num_bytes ||
        num_stored > (num_bytes - offset) / static_cast<std::int64_t>(size_of(array.dtype)))
      throw FormatError(fmt::format("an array of {} values at byte {} goes beyond the blob's {}",
                                    num_stored, offset, num_bytes));
    return array;
  }

  // Adds an objection to what is not.
  static bool is_known(const std::set<std::string>& known, const std::string& name,
                       const char* what, std::vector<std::string>& objections) {
    if (known.contains(name)) return true;
    const std::string objection = fmt::format("unknown {} '{}'", what, name);
    if (std::ranges::find(objections, objection) == objections.end())
      objections.push_back(objection);
    return false;
  }

  std::string group_;
  std::shared_ptr<const std::string> blob_;
};

}  // namespace

std::string blob_name_of(const Json& group) {
  if (const auto format = group.at("format").get<std::string>(); format != "bn-cases 1")
    throw FormatError(fmt::format("expected the format 'bn-cases 1', got '{}'", format));
  const auto name = group.at("blob").get<std::string>();
  if (std::filesystem::path(name).filename() != name)
    throw FormatError(fmt::format("the blob must lie beside the file, got '{}'", name));
  return name;
}

std::vector<Case> parse_group(const Json& group, const std::shared_ptr<const std::string>& blob) {
  const Parser parser(group.at("group").get<std::string>(), blob);
  std::vector<Case> cases;
  for (const Json& json : group.at("cases")) cases.push_back(parser.parse(json));
  return cases;
}

}  // namespace lockstep::conformance

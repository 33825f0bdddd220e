#include "model/summary.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <vector>

namespace lockstep {
namespace {

struct Count {
  std::int64_t trainable = 0;
  std::int64_t frozen = 0;  // statistics are counted here, as Keras does
};

Count count_of(std::span<Variable* const> variables) {
  Count count;
  for (const Variable* variable : variables) {
    if (variable->role() == VariableRole::state) continue;
    (variable->is_trainable() ? count.trainable : count.frozen) += variable->num_elements();
  }
  return count;
}

using Line = std::array<std::string, 4>;

std::string text_of(const Line& line, const std::array<std::size_t, 4>& widths) {
  return fmt::format("{:<{}}  {:<{}}  {:>{}}  {}\n", line[0], widths[0], line[1], widths[1],
                     line[2], widths[2], line[3]);
}

}  // namespace

std::string batch_text_of(const Shape& shape) {
  std::string text = "[None";
  for (int axis = 1; axis < shape.rank(); ++axis) text += fmt::format(", {}", shape[axis]);
  return text + "]";
}

std::string summary_of(std::string_view model, std::span<const SummaryRow> rows) {
  std::vector<Line> lines{{"layer (type)", "output shape", "parameters", "trainable"}};
  std::vector<Variable*> variables;  // shared ones are counted once in the end
  for (const auto& [layer, output_shape] : rows) {
    const std::vector<Variable*> own = layer->variables();
    std::ranges::copy_if(own, std::back_inserter(variables), [&](Variable* variable) {
      return std::ranges::count(variables, variable) == 0;
    });
    const Count count = count_of(own);
    lines.push_back({fmt::format("{} ({})", layer->name(), layer->type()),
                     batch_text_of(output_shape), std::to_string(count.trainable + count.frozen),
                     layer->is_trainable() ? "yes" : "no"});
  }
  std::array<std::size_t, 4> widths{};
  for (const Line& line : lines)
    for (std::size_t column = 0; column < line.size(); ++column)
      widths[column] = std::max(widths[column], line[column].size());

  const std::string header = text_of(lines[0], widths);
  const std::string rule = std::string(header.size() - 1, '-') + "\n";
  std::string text = fmt::format("model: {}\n{}{}", model, header, rule);
  for (const Line& line : std::span(lines).subspan(1)) text += text_of(line, widths);
  text += rule;
  const Count total = count_of(variables);
  text += fmt::format("parameters: {}, trainable: {}, non-trainable: {}\n",
                      total.trainable + total.frozen, total.trainable, total.frozen);
  return text;
}

}  // namespace lockstep

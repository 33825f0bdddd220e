#include "bench/row_text.hpp"

#include <spdlog/fmt/fmt.h>

#include "lockstep/io/json_lines.hpp"

namespace ls = lockstep;

namespace {

std::string text_of(const std::optional<bool>& value, const char* otherwise) {
  if (!value) return otherwise;
  return *value ? "yes" : "no";
}

template <class T>
std::string number_or(const char* format, const std::optional<T>& number, const char* otherwise) {
  return number ? fmt::format(fmt::runtime(format), *number) : otherwise;
}

const char* unit_of(const Target& target) {
  return target.of == Target::Of::ratio ? "ratio" : "microseconds";
}

// What people read as "-" programs read as nothing.
std::string value_of(const std::string& text) { return text == "-" ? "" : text; }

// In quotes, where a comma is in it.
std::string csv_of(const std::string& text) {
  const std::string value = value_of(text);
  return value.find(',') == std::string::npos ? value : '"' + value + '"';
}

constexpr const char* table_format =
    "{:<17} {:<6} {:<8} {:<23} {:>11} {:>6}  {:<15} {:>7} {:>7} {:>4} {:>6}\n";

}  // namespace

std::string text_of(const Target& target) {
  return fmt::format("{:.2f}{}", target.limit, target.of == Target::Of::ratio ? "x" : "us");
}

std::string table_heads() {
  return fmt::format(fmt::runtime(table_format), "# shape", "layout", "dtype", "what", "us",
                     "spread", "against", "ratio", "target", "met", "#wrong");
}

std::string table_line(const Row& row) {
  return fmt::format(fmt::runtime(table_format), row.shape, row.layout, row.dtype, row.what,
                     fmt::format("{:.2f}", row.microseconds),
                     row.spread ? fmt::format("{:.0f}%", 100.0 * *row.spread) : "-", row.against,
                     number_or("{:.3f}", row.ratio, "-"), row.target ? text_of(*row.target) : "-",
                     text_of(is_met(row), "-"), number_or("{}", row.num_wrong, "-"));
}

std::string csv_heads() {
  return "shape,layout,dtype,what,microseconds,spread,against,ratio,target,target_of,met,wrong\n";
}

std::string csv_line(const Row& row) {
  return fmt::format("{},{},{},{},{:.4f},{},{},{},{},{},{},{}\n", csv_of(row.shape),
                     value_of(row.layout), value_of(row.dtype), row.what, row.microseconds,
                     number_or("{:.4f}", row.spread, ""), value_of(row.against),
                     number_or("{:.5f}", row.ratio, ""),
                     row.target ? fmt::format("{}", row.target->limit) : "",
                     row.target ? unit_of(*row.target) : "", text_of(is_met(row), ""),
                     number_or("{}", row.num_wrong, ""));
}

std::string json_line(const Row& row) {
  ls::Record record{{"schema", std::string("lockstep.bench.1")}};
  const auto add_text = [&](const char* name, const std::string& text) {
    if (text != "-") record.push_back({name, text});
  };
  add_text("shape", row.shape);
  add_text("layout", row.layout);
  add_text("dtype", row.dtype);
  add_text("what", row.what);
  record.push_back({"microseconds", row.microseconds});
  if (row.spread) record.push_back({"spread", *row.spread});
  add_text("against", row.against);
  if (row.ratio) record.push_back({"ratio", *row.ratio});
  if (row.target) {
    record.push_back({"target", row.target->limit});
    record.push_back({"target_of", std::string(unit_of(*row.target))});
    record.push_back({"met", is_met(row).value()});
  }
  if (row.num_wrong) record.push_back({"wrong", *row.num_wrong});
  return ls::to_json_line(record) + "\n";
}

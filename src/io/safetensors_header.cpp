#include "io/safetensors_header.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "base/bytes.hpp"
#include "io/crc32c.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

static_assert(std::endian::native == std::endian::little);

using Json = nlohmann::json;

constexpr std::string_view metadata_key = "__metadata__";
constexpr std::string_view own_key = "\"lockstep.";  // begins a name that no others have
constexpr std::string_view format_key = "lockstep.format";
constexpr std::string_view format = "1";
constexpr std::string_view checksum_key = "lockstep.crc32c:";  // and the name of a tensor

// What a header of lockstep begins with; the 8 hexadecimal digits of its checksum follow.
constexpr std::string_view opening = R"({"__metadata__":{"lockstep.header_crc32c":")";
constexpr std::string_view header_checksum_key = "lockstep.header_crc32c";
constexpr std::size_t num_digits = 8;

constexpr std::array<std::pair<std::string_view, DType>, 6> dtypes{{{"F32", DType::float32},
                                                                    {"F64", DType::float64},
                                                                    {"F16", DType::float16},
                                                                    {"BF16", DType::bfloat16},
                                                                    {"I64", DType::int64},
                                                                    {"BOOL", DType::boolean}}};

std::string_view code_of(DType dtype) {
  return std::ranges::find(dtypes, dtype, [](const auto& pair) { return pair.second; })->first;
}

std::optional<DType> dtype_of_code(std::string_view code) {
  const auto found = std::ranges::find(dtypes, code, [](const auto& pair) { return pair.first; });
  if (found == dtypes.end()) return std::nullopt;
  return found->second;
}

std::string hex_of(std::uint32_t checksum) { return fmt::format("{:08x}", checksum); }

std::optional<std::uint32_t> checksum_of_hex(std::string_view text) {
  if (text.size() != num_digits) return std::nullopt;
  std::uint32_t value = 0;
  for (const char c : text) {
    const bool is_digit = c >= '0' && c <= '9';
    if (!is_digit && !(c >= 'a' && c <= 'f')) return std::nullopt;
    value = value << 4 | static_cast<std::uint32_t>(is_digit ? c - '0' : c - 'a' + 10);
  }
  return value;
}

// Of length and header, with zeros in place of its own digits.
std::uint32_t header_checksum_of(std::span<const std::byte> first_bytes) {
  const std::size_t digits = num_length_bytes + opening.size();
  static constexpr std::string_view zeros = "00000000";
  std::uint32_t checksum = crc32c(first_bytes.first(digits));
  checksum = crc32c(std::as_bytes(std::span(zeros)), checksum);
  return crc32c(first_bytes.subspan(digits + num_digits), checksum);
}

// Follows a text without keeping it: an object of objects whose values are texts, numbers and lists
// of those, each key once.
class HeaderOutline final : public nlohmann::json_sax<Json> {
 public:
  explicit HeaderOutline(std::function<void(std::string_view problem)> fail)
      : fail_(std::move(fail)) {}

  bool start_object(std::size_t) override {
    if (is_list_ || keys_.size() == 2) fail_("the header is nested too deeply");
    keys_.emplace_back();
    return true;
  }
  bool key(std::string& name) override {
    if (!keys_.back().insert(name).second)
      fail_(fmt::format("'{}': the name is there twice", name));
    return true;
  }
  bool end_object() override {
    keys_.pop_back();
    return true;
  }
  bool start_array(std::size_t) override {
    if (is_list_) fail_("the header is nested too deeply");
    return is_list_ = true;
  }
  bool end_array() override {
    is_list_ = false;
    return true;
  }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool parse_error(std::size_t, const std::string&, const Json::exception& error) override {
    fail_(fmt::format("the header is no JSON: {}", error.what()));
    return false;
  }

 private:
  std::function<void(std::string_view problem)> fail_;
  std::vector<std::set<std::string>> keys_;  // of the objects that are open
  bool is_list_ = false;
};

// An untrusted header on its way to entries.
class HeaderParser {
 public:
  HeaderParser(std::span<const std::byte> first_bytes, std::uint64_t num_bytes,
               std::string_view what)
      : first_bytes_(first_bytes),
        text_(reinterpret_cast<const char*>(first_bytes.data()) + num_length_bytes,
              first_bytes.size() - num_length_bytes),
        num_data_bytes_(num_bytes - first_bytes.size()),
        what_(what) {}

  SafetensorsHeader parse() {
    header_.num_header_bytes = first_bytes_.size();
    header_.has_checksums =
        text_.starts_with(opening) && text_.size() >= opening.size() + num_digits;
    if (header_.has_checksums)
      check_header_checksum();
    else if (text_.find(own_key) != text_.npos)
      fail("the header is damaged: it is one of lockstep's, but does not begin with its checksum");
    const Json root = json();
    if (!root.is_object()) fail("expected a JSON object");
    for (const auto& item : root.items()) {
      if (item.key() == metadata_key)
        read_metadata(item.value());
      else
        header_.entries.push_back(entry_of(item.key(), item.value()));
    }
    check_layout();
    if (header_.has_checksums) take_checksums();
    return std::move(header_);
  }

 private:
  [[noreturn]] void fail(std::string_view problem) const {
    refuse_safetensors(what_, num_length_bytes, problem);
  }
  [[noreturn]] void fail_at(std::string_view name, std::string_view problem) const {
    fail(fmt::format("'{}': {}", name, problem));
  }

  void check_header_checksum() const {
    const auto stored = checksum_of_hex(text_.substr(opening.size(), num_digits));
    const std::uint32_t expected = header_checksum_of(first_bytes_);
    if (stored != expected)
      fail(fmt::format("the header is damaged: its checksum is {}, it says {}", hex_of(expected),
                       stored ? hex_of(*stored) : "no number"));
  }

  // The text as JSON, once it is known to be no deeper than the format and to repeat no key: both
  // are what makes a short text expensive, or doubtful.
  Json json() const {
    try {
      HeaderOutline outline([&](std::string_view problem) { fail(problem); });
      Json::sax_parse(text_.begin(), text_.end(), &outline);
      return Json::parse(text_.begin(), text_.end());
    } catch (const Json::exception& error) {
      fail(fmt::format("the header is no JSON: {}", error.what()));
    }
  }

  void read_metadata(const Json& metadata) {
    if (!metadata.is_object()) fail_at(metadata_key, "expected an object");
    for (const auto& item : metadata.items()) {
      if (!item.value().is_string()) fail_at(item.key(), "expected a text");
      header_.metadata[item.key()] = item.value().get<std::string>();
    }
  }

  TensorEntry entry_of(const std::string& name, const Json& json) const {
    const auto member = [&](const char* key) -> const Json& {
      const auto found = json.find(key);
      if (found == json.end()) fail_at(name, fmt::format("expected '{}'", key));
      return *found;
    };
    if (!json.is_object()) fail_at(name, "expected an object");
    if (json.size() != 3) fail_at(name, "expected 'dtype', 'shape' and 'data_offsets' alone");
    TensorEntry entry;
    entry.name = name;
    const Json& dtype = member("dtype");
    const auto known = dtype.is_string() ? dtype_of_code(dtype.get<std::string>()) : std::nullopt;
    if (!known)
      fail_at(name, fmt::format("expected a dtype of F32, F64, F16, BF16, I64 or BOOL, found {}",
                                dtype.dump()));
    entry.dtype = *known;
    entry.shape = shape_of(name, member("shape"));
    const std::vector<std::uint64_t> offsets = numbers_of(name, member("data_offsets"));
    if (offsets.size() != 2) fail_at(name, "expected two data_offsets");
    entry.first = offsets[0];
    entry.last = offsets[1];
    return entry;
  }

  std::vector<std::uint64_t> numbers_of(const std::string& name, const Json& json) const {
    if (!json.is_array()) fail_at(name, "expected lists of numbers");
    std::vector<std::uint64_t> numbers;
    for (const Json& number : json) {
      if (!number.is_number_unsigned())
        fail_at(name, fmt::format("expected a whole number >= 0, found {}", number.dump()));
      numbers.push_back(number.get<std::uint64_t>());
    }
    return numbers;
  }

  Shape shape_of(const std::string& name, const Json& json) const {
    std::vector<std::int64_t> extents;
    for (const std::uint64_t extent : numbers_of(name, json)) {
      if (!std::in_range<std::int64_t>(extent))
        fail_at(name, fmt::format("the extent {} is too large", extent));
      extents.push_back(static_cast<std::int64_t>(extent));
    }
    if (extents.size() > static_cast<std::size_t>(Shape::max_rank))
      fail_at(name,
              fmt::format("expected at most {} axes, found {}", Shape::max_rank, extents.size()));
    return Shape(extents);
  }

  // Data lie one behind the other, from the first to the last byte.
  void check_layout() {
    std::ranges::sort(header_.entries, [](const TensorEntry& a, const TensorEntry& b) {
      return std::tie(a.first, a.last, a.name) < std::tie(b.first, b.last, b.name);
    });
    std::uint64_t next = 0;
    for (const TensorEntry& entry : header_.entries) {
      const std::string range = fmt::format("its data at [{}, {})", entry.first, entry.last);
      if (entry.first != next)
        fail_at(entry.name,
                fmt::format("{} {} those before, which end at {}", range,
                            entry.first < next ? "overlap" : "leave a gap after", next));
      if (entry.last < entry.first || entry.last > num_data_bytes_)
        fail_at(entry.name,
                fmt::format("{} do not lie within the {} bytes of data", range, num_data_bytes_));
      if (!entry.shape.is_valid() || entry.last - entry.first != num_bytes_of_valid(entry))
        fail_at(entry.name, fmt::format("{} do not fit its dtype {} and shape {}", range,
                                        name_of(entry.dtype), to_string(entry.shape)));
      if (entry.first % size_of(entry.dtype) != 0)
        fail_at(entry.name, fmt::format("{} are not aligned for {}", range, name_of(entry.dtype)));
      next = entry.last;
    }
    if (next != num_data_bytes_)
      refuse_safetensors(what_, first_bytes_.size() + next,
                         fmt::format("expected {} bytes of data, found {}", next, num_data_bytes_));
  }

  static std::optional<std::uint64_t> num_bytes_of_valid(const TensorEntry& entry) {
    std::uint64_t bytes = 0;
    if (__builtin_mul_overflow(static_cast<std::uint64_t>(entry.shape.num_elements()),
                               size_of(entry.dtype), &bytes))
      return std::nullopt;
    return bytes;
  }

  // From the metadata to the entries, one for each.
  void take_checksums() {
    header_.metadata.erase(std::string(header_checksum_key));
    const auto found = header_.metadata.find(std::string(format_key));
    if (found == header_.metadata.end() || found->second != format)
      fail(fmt::format("expected the format {}, found {}; it was written by another version",
                       format, found == header_.metadata.end() ? "none" : found->second));
    header_.metadata.erase(found);
    for (TensorEntry& entry : header_.entries) {
      const auto node = header_.metadata.extract(std::string(checksum_key) + entry.name);
      if (!node.empty()) entry.checksum = checksum_of_hex(node.mapped());
      if (!entry.checksum) fail_at(entry.name, "it has no checksum");
    }
    for (const auto& [key, value] : header_.metadata)
      if (key.starts_with(checksum_key)) fail_at(key, "a checksum of no tensor");
  }

  std::span<const std::byte> first_bytes_;
  std::string_view text_;
  std::uint64_t num_data_bytes_;
  std::string_view what_;
  SafetensorsHeader header_;
};

}  // namespace

// What a hostile file says may be long, and may not be for terminals.
void refuse_safetensors(std::string_view what, std::uint64_t offset, std::string_view problem) {
  constexpr std::size_t max_length = 300;
  std::string shown(problem.substr(0, max_length));
  std::ranges::replace_if(
      shown, [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
  throw DataError(fmt::format("{} cannot be read as safetensors: at byte {}: {}{}", what, offset,
                              shown, problem.size() > max_length ? "..." : ""));
}

std::uint64_t header_length_of(std::span<const std::byte> first_bytes, std::uint64_t num_bytes,
                               std::string_view what) {
  if (num_bytes < num_length_bytes)
    refuse_safetensors(what, 0,
                       fmt::format("expected {} bytes with the length of the header, found {}",
                                   num_length_bytes, num_bytes));
  std::uint64_t length = 0;
  std::memcpy(&length, first_bytes.data(), num_length_bytes);
  if (length > max_safetensors_header)
    refuse_safetensors(what, 0,
                       fmt::format("a header of {} bytes is too long; at most {} work", length,
                                   max_safetensors_header));
  if (length > num_bytes - num_length_bytes)
    refuse_safetensors(what, num_length_bytes,
                       fmt::format("expected a header of {} bytes, found {}", length,
                                   num_bytes - num_length_bytes));
  return length;
}

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> first_bytes,
                                           std::uint64_t num_bytes, std::string_view what) {
  return HeaderParser(first_bytes, num_bytes, what).parse();
}

std::string safetensors_header_of(const std::vector<TensorEntry>& entries,
                                  const std::map<std::string, std::string>& metadata) {
  using Ordered = nlohmann::ordered_json;
  Ordered own = {{header_checksum_key, std::string(num_digits, '0')}, {format_key, format}};
  for (const auto& [key, value] : metadata) own[key] = value;
  for (const TensorEntry& entry : entries)
    own[std::string(checksum_key) + entry.name] = hex_of(entry.checksum.value());
  Ordered root = {{metadata_key, std::move(own)}};
  for (const TensorEntry& entry : entries) {
    if (root.contains(entry.name))
      throw ArgumentError(fmt::format("a tensor cannot be named '{}'", entry.name));
    root[entry.name] = {{"dtype", code_of(entry.dtype)},
                        {"shape", std::vector(entry.shape.begin(), entry.shape.end())},
                        {"data_offsets", {entry.first, entry.last}}};
  }
  std::string text;
  try {
    text = root.dump();
  } catch (const Ordered::exception& error) {
    throw ArgumentError(
        fmt::format("names and metadata of tensors must be UTF-8: {}", error.what()));
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data are aligned in the file
  if (text.size() > max_safetensors_header)
    throw ArgumentError(fmt::format("a header of {} bytes is too long; at most {} work",
                                    text.size(), max_safetensors_header));
  const std::uint64_t length = text.size();
  text.insert(0, reinterpret_cast<const char*>(&length), num_length_bytes);
  const std::string digits = hex_of(header_checksum_of(std::as_bytes(std::span(text))));
  text.replace(num_length_bytes + opening.size(), num_digits, digits);
  return text;
}

}  // namespace lockstep

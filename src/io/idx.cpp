#include "lockstep/io/idx.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <fstream>
#include <string>
#include <system_error>
#include <type_traits>
#include <vector>

#include "base/visit_dtype.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

// A file of known size that is read from front to back.
class Input {
 public:
  explicit Input(const std::filesystem::path& path) : path_(path) {
    std::error_code error;
    const auto status = std::filesystem::status(path, error);
    if (!std::filesystem::is_regular_file(status))
      refuse(std::filesystem::exists(status) ? "it is no regular file" : error.message());
    size_ = std::filesystem::file_size(path, error);
    if (error) refuse(error.message());
    file_.open(path, std::ios::binary);
    if (!file_) refuse(std::system_category().message(errno));
  }

  [[nodiscard]] std::uintmax_t size() const noexcept { return size_; }
  [[nodiscard]] std::uintmax_t offset() const noexcept { return offset_; }

  void read(std::byte* bytes, std::size_t count, std::string_view what) {
    file_.read(reinterpret_cast<char*>(bytes), static_cast<std::streamsize>(count));
    if (file_.gcount() != static_cast<std::streamsize>(count))
      fail(offset_, fmt::format("expected {} bytes of {}, found {}", count, what, file_.gcount()));
    offset_ += count;
  }

  [[noreturn]] void fail(std::uintmax_t offset, std::string_view problem) const {
    throw DataError(
        fmt::format("{} cannot be read as IDX: at byte {}: {}", path_.string(), offset, problem));
  }

 private:
  [[noreturn]] void refuse(std::string_view reason) const {
    throw DataError(fmt::format("cannot read {}: {}", path_.string(), reason));
  }

  std::filesystem::path path_;
  std::ifstream file_;
  std::uintmax_t size_ = 0;
  std::uintmax_t offset_ = 0;
};

template <class T>
T big_endian(const std::byte* bytes) {
  using Bits = std::conditional_t<
      sizeof(T) == 1, std::uint8_t,
      std::conditional_t<sizeof(T) == 2, std::uint16_t,
                         std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>>;
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    bits = bits << 8 | std::to_integer<unsigned>(bytes[i]);
  return std::bit_cast<T>(static_cast<Bits>(bits));
}

// Calls `visitor` with the TypeTag of an element type's code; false when there is no such type.
template <class Visitor>
bool visit_code(unsigned code, Visitor&& visitor) {
  switch (code) {
    case 0x08:
      visitor(TypeTag<std::uint8_t>{});
      return true;
    case 0x09:
      visitor(TypeTag<std::int8_t>{});
      return true;
    case 0x0b:
      visitor(TypeTag<std::int16_t>{});
      return true;
    case 0x0c:
      visitor(TypeTag<std::int32_t>{});
      return true;
    case 0x0d:
      visitor(TypeTag<float>{});
      return true;
    case 0x0e:
      visitor(TypeTag<double>{});
      return true;
    default:
      return false;
  }
}

struct Magic {
  unsigned code;  // of the element type
  int rank;
};

Magic read_magic(Input& input) {
  std::array<std::byte, 4> bytes{};
  input.read(bytes.data(), bytes.size(), "magic number");
  const auto value = [&](std::size_t i) { return std::to_integer<unsigned>(bytes[i]); };
  if (value(0) == 0x1f && value(1) == 0x8b)
    input.fail(0, "found gzip data; decompress the file first");
  if (value(0) != 0 || value(1) != 0)
    input.fail(0, fmt::format("expected two zero bytes, found {:02x} {:02x}", value(0), value(1)));
  if (!visit_code(value(2), [](auto) {}))
    input.fail(2, fmt::format("expected an element type of 08, 09, 0b, 0c, 0d or 0e, found {:02x}",
                              value(2)));
  if (value(3) < 1 || value(3) > static_cast<unsigned>(Shape::max_rank))
    input.fail(3, fmt::format("expected 1 to {} dimensions, found {}", Shape::max_rank, value(3)));
  return {value(2), static_cast<int>(value(3))};
}

// Reads the extents; the product of all of them, zeros or not, must fit.
Shape read_shape(Input& input, int rank, std::size_t element_size) {
  std::vector<std::int64_t> extents;
  auto num_bytes = static_cast<std::int64_t>(element_size);
  for (int axis = 0; axis < rank; ++axis) {
    std::array<std::byte, 4> bytes{};
    const std::uintmax_t offset = input.offset();
    input.read(bytes.data(), bytes.size(), fmt::format("dimension {}", axis));
    extents.push_back(big_endian<std::uint32_t>(bytes.data()));
    if (__builtin_mul_overflow(num_bytes, std::max<std::int64_t>(extents.back(), 1), &num_bytes))
      input.fail(offset,
                 fmt::format("dimensions {} are too many elements", to_string(Shape(extents))));
  }
  const Shape shape(extents);
  if (shape.num_elements() == 0) num_bytes = 0;
  const std::uintmax_t found = input.size() - std::min(input.size(), input.offset());
  if (found != static_cast<std::uintmax_t>(num_bytes))
    input.fail(input.offset(),
               fmt::format("expected {} bytes of elements for dimensions {}, found {}", num_bytes,
                           to_string(shape), found));
  return shape;
}

template <class Element, class T>
void read_elements(Input& input, std::span<T> values) {
  constexpr std::size_t block = std::size_t{1} << 14;
  std::vector<std::byte> bytes(std::min(block, values.size()) * sizeof(Element));
  for (std::size_t first = 0; first < values.size(); first += block) {
    const std::size_t count = std::min(block, values.size() - first);
    input.read(bytes.data(), count * sizeof(Element), "elements");
    for (std::size_t i = 0; i < count; ++i)
      // Every element is a double exactly, so that the way to 16 bits rounds once.
      values[first + i] = static_cast<T>(
          static_cast<double>(big_endian<Element>(bytes.data() + i * sizeof(Element))));
  }
}

void require_rank(const std::filesystem::path& path, const Tensor& tensor, int rank,
                  std::string_view what) {
  if (tensor.shape().rank() != rank)
    throw DataError(fmt::format("{} at byte 3: {} have {} dimension(s), found {}", path.string(),
                                what, rank, tensor.shape().rank()));
}

}  // namespace

Tensor read_idx(const std::filesystem::path& path, DType dtype) {
  Input input(path);
  const Magic magic = read_magic(input);
  Tensor result;
  visit_code(magic.code, [&]<class Element>(TypeTag<Element>) {
    if (!is_floating(dtype) && std::is_floating_point_v<Element>)
      input.fail(2, fmt::format("expected integers, found elements of type {:02x}", magic.code));
    result.resize(read_shape(input, magic.rank, sizeof(Element)), dtype);
    if constexpr (std::is_integral_v<Element>) {
      if (!is_floating(dtype)) return read_elements<Element>(input, result.values<std::int64_t>());
    }
    visit_floating(dtype,
                   [&]<class T>(TypeTag<T>) { read_elements<Element>(input, result.values<T>()); });
  });
  return result;
}

Tensor read_idx_images(const std::filesystem::path& path, DType dtype) {
  if (!is_floating(dtype))
    throw ArgumentError(
        fmt::format("images are read as a floating dtype, not {}", name_of(dtype)));
  Tensor images = read_idx(path, dtype);
  require_rank(path, images, 3, "images");
  const Shape& shape = images.shape();
  images.resize({shape[0], shape[1], shape[2], 1}, dtype);
  return images;
}

Tensor read_idx_labels(const std::filesystem::path& path) {
  Tensor labels = read_idx(path, DType::int64);
  require_rank(path, labels, 1, "labels");
  const auto values = labels.values<std::int64_t>();
  const auto negative = std::find_if(values.begin(), values.end(), [](auto v) { return v < 0; });
  if (negative != values.end())
    throw DataError(fmt::format("{}: label {} is {}; labels start at 0", path.string(),
                                negative - values.begin(), *negative));
  return labels;
}

}  // namespace lockstep

#include "bench/workload.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <charconv>
#include <span>

#include "lockstep/base/error.hpp"

namespace ls = lockstep;

namespace {

// Batches of ResNet-50's first and later stages, planes of 7x7, a wide dense layer, and small ones.
const std::vector<ls::Shape> default_list{
    {32, 64, 56, 56}, {32, 256, 56, 56}, {32, 512, 28, 28}, {32, 2048, 7, 7}, {4, 256, 56, 56},
    {4, 64, 28, 28},  {8, 16, 8, 8},     {4096, 1024},      {256, 64},
};

// Every number of channels and every plane, in tensors from 4 KiB to 32 MiB of float32. The number
// of samples is odd, so that nothing divides well.
std::vector<ls::Shape> sweep_list() {
  std::vector<ls::Shape> list;
  for (const std::int64_t num_elements : {1 << 10, 1 << 15, 1 << 19, 1 << 23})
    for (const std::int64_t channels : {1, 3, 17, 1000})
      for (const auto& [height, width] :
           {std::pair{1, 1}, {7, 7}, {13, 15}, {56, 56}, {224, 224}}) {
        const std::int64_t sample = channels * height * width;
        if (sample <= num_elements)
          list.push_back({(num_elements / sample) | 1, channels, height, width});
      }
  return list;
}

std::vector<ls::Shape> shapes_of(const BenchOptions& options) {
  if (options.shapes.empty()) return options.sweep ? sweep_list() : default_list;
  std::vector<ls::Shape> shapes;
  std::ranges::transform(options.shapes, std::back_inserter(shapes), extents_of);
  return shapes;
}

}  // namespace

std::string_view name_of(Layout layout) noexcept {
  switch (layout) {
    case Layout::nhwc:
      return "nhwc";
    case Layout::nchw:
      return "nchw";
    case Layout::nc:
      return "nc";
  }
  return "unknown";
}

std::int64_t Workload::num_positions() const noexcept {
  return layout == Layout::nc ? 1 : extents[2] * extents[3];
}

double Workload::num_bytes() const noexcept {
  return static_cast<double>(num_elements()) * static_cast<double>(ls::size_of(dtype));
}

ls::Shape Workload::tensor_shape() const {
  if (layout != Layout::nhwc) return extents;
  return {extents[0], extents[2], extents[3], extents[1]};
}

std::string label_of(const Workload& workload) {
  return fmt::format("{}", fmt::join(workload.extents, "x"));
}

ls::Shape extents_of(std::string_view text) {
  const auto refuse = [&] {
    throw ls::ArgumentError(fmt::format(
        "expected N,C,H,W or N,C of whole numbers from 1, at most 2^32 elements, got '{}'", text));
  };
  std::vector<std::int64_t> extents;
  std::int64_t num_elements = 1;
  for (const char* at = text.data(); extents.size() < 5; ++at) {
    std::int64_t extent = 0;
    const auto result = std::from_chars(at, text.data() + text.size(), extent);
    if (result.ec != std::errc() || extent < 1 || extent > (std::int64_t{1} << 32) / num_elements)
      refuse();
    num_elements *= extent;
    extents.push_back(extent);
    at = result.ptr;
    if (at == text.data() + text.size()) break;
    if (*at != ',') refuse();
  }
  if (extents.size() != 2 && extents.size() != 4) refuse();
  return ls::Shape(std::span<const std::int64_t>(extents));
}

std::vector<Workload> workloads_of(const BenchOptions& options) {
  std::vector<Workload> workloads;
  for (const ls::Shape& extents : shapes_of(options)) {
    const auto add = [&](Layout layout) {
      workloads.push_back({extents, layout, ls::dtype_of(options.dtype)});
    };
    if (extents.rank() == 2) {
      add(Layout::nc);
      continue;
    }
    for (const Layout layout : {Layout::nhwc, Layout::nchw})
      if (options.layout == "all" || options.layout == name_of(layout)) add(layout);
  }
  return workloads;
}

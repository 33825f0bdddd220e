#include "bench/targets.hpp"

#include <algorithm>
#include <array>

namespace {

bool is_tiny_dense(const Workload& w) { return w.extents == lockstep::Shape{256, 64}; }

bool is_dense_or_7x7(const Workload& w) {
  return w.extents == lockstep::Shape{4096, 1024} ||
         (w.layout != Layout::nc && w.extents[2] == 7 && w.extents[3] == 7 && !is_tiny(w));
}

bool is_in_memory(const Workload& w, Layout layout) {
  return w.layout == layout && is_memory_size(w) && !is_dense_or_7x7(w);
}
bool is_nhwc_in_memory(const Workload& w) { return is_in_memory(w, Layout::nhwc); }
bool is_nchw_in_memory(const Workload& w) { return is_in_memory(w, Layout::nchw); }

bool is_large(const Workload& w) { return is_memory_size(w); }

bool is_any(const Workload&) { return true; }

constexpr int any_number = 1 << 30;

// The first line that fits counts.
struct Line {
  std::string_view what;
  bool (*holds_for)(const Workload&);
  int least_ranks, most_ranks;
  Target::Of of;
  double limit;
};

using enum Target::Of;
constexpr std::array lines{
    Line{"forward", is_nhwc_in_memory, 1, 2, ratio, 1.15},
    Line{"backward", is_nhwc_in_memory, 1, 2, ratio, 1.15},
    Line{"forward", is_nchw_in_memory, 1, 1, ratio, 1.0},
    Line{"backward", is_nchw_in_memory, 1, 1, ratio, 1.0},
    Line{"forward", is_nchw_in_memory, 2, 2, ratio, 0.9},
    Line{"backward", is_nchw_in_memory, 2, 2, ratio, 0.85},
    Line{"forward", is_dense_or_7x7, 1, 2, ratio, 1.2},
    Line{"backward", is_dense_or_7x7, 1, 2, ratio, 1.3},
    Line{"forward", is_tiny_dense, 1, 2, microseconds, 2.0},
    Line{"relu forward", is_any, 1, any_number, ratio, 1.02},
    Line{"relu backward", is_any, 1, any_number, ratio, 1.02},
    Line{"residual forward", is_any, 1, any_number, ratio, 1.02},
    Line{"residual backward", is_any, 1, any_number, ratio, 1.02},
    Line{"exact forward", is_large, 1, any_number, ratio, 1.05},
    Line{"exact forward", is_any, 1, any_number, ratio, 1.5},
    Line{"sync extra forward", is_tiny, 2, 2, microseconds, 1.0},
    Line{"sync extra backward", is_tiny, 2, 2, microseconds, 1.0},
};

}  // namespace

bool is_tiny(const Workload& workload) noexcept { return workload.num_bytes() <= 65536.0; }

bool is_memory_size(const Workload& workload) noexcept {
  return workload.num_bytes() >= 16.0 * 1024.0 * 1024.0;
}

std::optional<Target> target_of(std::string_view what, const Workload& workload, int num_ranks,
                                double local_seconds) {
  if (workload.dtype != lockstep::DType::float32) return std::nullopt;
  if (what == "sync forward" || what == "sync backward") {
    if (num_ranks != 2 || is_tiny(workload) || local_seconds < 100e-6) return std::nullopt;
    return Target{ratio, 1.05};
  }
  const auto line = std::ranges::find_if(lines, [&](const Line& candidate) {
    return candidate.what == what && candidate.holds_for(workload) &&
           num_ranks >= candidate.least_ranks && num_ranks <= candidate.most_ranks;
  });
  if (line == lines.end()) return std::nullopt;
  return Target{line->of, line->limit};
}

std::optional<Target> merge_target(std::int64_t num_channels, int num_ranks) {
  if (num_ranks != 2) return std::nullopt;
  switch (num_channels) {
    case 64:
      return Target{microseconds, 0.4};
    case 1024:
      return Target{microseconds, 2.2};
    case 4096:
      return Target{microseconds, 8.5};
    default:
      return std::nullopt;
  }
}

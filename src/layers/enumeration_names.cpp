#include "layers/enumeration_names.hpp"

namespace lockstep {

std::string_view name_of(FrozenMode mode) noexcept {
  switch (mode) {
    case FrozenMode::inference:
      return "inference";
    case FrozenMode::batch_statistics:
      return "batch_statistics";
    case FrozenMode::batch_statistics_updating:
      return "batch_statistics_updating";
  }
  return "unknown";
}

std::string_view name_of(MovingVariance kind) noexcept {
  switch (kind) {
    case MovingVariance::biased:
      return "biased";
    case MovingVariance::unbiased:
      return "unbiased";
    case MovingVariance::as_tensorflow:
      return "as_tensorflow";
  }
  return "unknown";
}

std::string_view name_of(Updates updates) noexcept {
  switch (updates) {
    case Updates::immediate:
      return "immediate";
    case Updates::deferred:
      return "deferred";
  }
  return "unknown";
}

std::string_view name_of(Nonfinite policy) noexcept {
  switch (policy) {
    case Nonfinite::error:
      return "error";
    case Nonfinite::skip_update:
      return "skip_update";
    case Nonfinite::warn:
      return "warn";
  }
  return "unknown";
}

std::string_view name_of(Statistics statistics) noexcept {
  switch (statistics) {
    case Statistics::exact:
      return "exact";
    case Statistics::fast:
      return "fast";
  }
  return "unknown";
}

std::string_view name_of(GhostGrouping grouping) noexcept {
  switch (grouping) {
    case GhostGrouping::strided:
      return "strided";
    case GhostGrouping::contiguous:
      return "contiguous";
  }
  return "unknown";
}

std::string_view name_of(FusedRules rules) noexcept {
  switch (rules) {
    case FusedRules::keras:
      return "keras";
    case FusedRules::contrib:
      return "contrib";
  }
  return "unknown";
}

}  // namespace lockstep

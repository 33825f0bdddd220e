#include "lockstep/kernels/kernel_target.hpp"

#include <hwy/targets.h>
#include <spdlog/fmt/fmt.h>
#include <spdlog/fmt/ranges.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <string>

#include "kernels/kernel_environment.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

constexpr std::array<std::string_view, 6> names{"automatic", "reference", "scalar",
                                                "sse4",      "avx2",      "avx512"};

std::atomic<KernelTarget> chosen = KernelTarget::automatic;

bool is_supported(KernelTarget target) noexcept {
  switch (target) {
    case KernelTarget::automatic:
    case KernelTarget::reference:
    case KernelTarget::scalar:
      return true;
    case KernelTarget::sse4:
      return (hwy::SupportedTargets() & HWY_SSE4) != 0;
    case KernelTarget::avx2:
      return (hwy::SupportedTargets() & HWY_AVX2) != 0;
    case KernelTarget::avx512:
      return (hwy::SupportedTargets() & HWY_AVX3) != 0;
  }
  return false;
}

// The environment's word, read once: nothing, the name of a target, or an error.
struct EnvironmentChoice {
  KernelTarget target = KernelTarget::automatic;
  std::string wrong;  // empty: nothing is wrong
};

EnvironmentChoice read_environment() {
  const char* const word = std::getenv("LOCKSTEP_KERNELS");
  if (word == nullptr) return {};
  for (const KernelTarget target : supported_kernel_targets())
    if (word == name_of(target)) return {target, {}};
  return {KernelTarget::automatic, word};
}

const EnvironmentChoice& environment_choice() {
  static const EnvironmentChoice choice = read_environment();
  return choice;
}

std::string names_of_supported() {
  std::vector<std::string_view> result;
  for (const KernelTarget target : supported_kernel_targets()) result.push_back(name_of(target));
  return fmt::format("{}", fmt::join(result, ", "));
}

KernelTarget best() noexcept {
  for (const auto target : {KernelTarget::avx512, KernelTarget::avx2, KernelTarget::sse4})
    if (is_supported(target)) return target;
  return KernelTarget::scalar;
}

}  // namespace

std::string_view name_of(KernelTarget target) noexcept {
  return names[static_cast<std::size_t>(target)];
}

std::vector<KernelTarget> supported_kernel_targets() {
  std::vector<KernelTarget> result;
  for (const auto target : {KernelTarget::reference, KernelTarget::scalar, KernelTarget::sse4,
                            KernelTarget::avx2, KernelTarget::avx512})
    if (is_supported(target)) result.push_back(target);
  return result;
}

KernelTarget kernel_target() noexcept {
  KernelTarget target = chosen.load(std::memory_order_relaxed);
  if (target == KernelTarget::automatic) {
    target = environment_choice().target;
    if (target == KernelTarget::automatic) target = best();
    chosen.store(target, std::memory_order_relaxed);
  }
  return target;
}

void set_kernel_target(KernelTarget target) {
  if (static_cast<std::size_t>(target) >= names.size() || !is_supported(target))
    throw ArgumentError(fmt::format(
        "this CPU cannot run the kernel target {}; use one of {}",
        static_cast<std::size_t>(target) < names.size() ? name_of(target) : "of that number",
        names_of_supported()));
  chosen.store(target, std::memory_order_relaxed);
}

void check_kernel_environment() {
  if (const std::string& wrong = environment_choice().wrong; !wrong.empty())
    throw ArgumentError(
        fmt::format("the environment variable LOCKSTEP_KERNELS is '{}'; this CPU can run {}", wrong,
                    names_of_supported()));
}

}  // namespace lockstep

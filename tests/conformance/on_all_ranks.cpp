#include "conformance/on_all_ranks.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <span>
#include <string>

#include "lockstep/comm/collectives.hpp"

namespace lockstep::conformance {
namespace {

// What it threw, in words that are not empty; nothing when all is well.
std::string complaint_of(const std::function<void()>& body) {
  try {
    body();
    return {};
  } catch (const std::exception& error) {
    return fmt::format("{} ", error.what());
  }
}

}  // namespace

void on_all_ranks(const Communicator& world, const std::function<void()>& body) {
  const std::string complaint = complaint_of(body);
  const auto all = allgather_varying(world, std::as_bytes(std::span(complaint)));
  const auto first = std::ranges::find_if(all, [](const auto& other) { return !other.empty(); });
  if (first == all.end()) return;
  const std::string message(reinterpret_cast<const char*>(first->data()), first->size() - 1);
  const bool is_common =
      std::ranges::all_of(all, [&](const auto& other) { return other == *first; });
  throw CaseFailure(is_common ? message : fmt::format("rank {}: {}", first - all.begin(), message));
}

}  // namespace lockstep::conformance

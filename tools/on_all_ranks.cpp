#include "on_all_ranks.hpp"

#include <span>
#include <string>

#include "lockstep/comm/collectives.hpp"

void on_all_ranks(const lockstep::Communicator& world, const std::function<void()>& body) {
  std::string failure;
  try {
    body();
  } catch (const std::exception& error) {
    failure = error.what();
    if (failure.empty()) failure = "unknown error";
  }
  const auto failures = lockstep::allgather_varying(world, std::as_bytes(std::span(failure)));
  for (std::size_t rank = 0; rank < failures.size(); ++rank)
    if (!failures[rank].empty()) {
      const auto* text = reinterpret_cast<const char*>(failures[rank].data());
      throw UsageError("rank " + std::to_string(rank) + ": " +
                       std::string(text, failures[rank].size()));
    }
}

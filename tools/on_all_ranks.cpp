#include "on_all_ranks.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <memory>
#include <new>
#include <span>
#include <string>

#include "hosts.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/comm/collectives.hpp"

namespace {

using lockstep::ErrorCode;

std::string failure_of(ErrorCode code, const char* message) {
  return static_cast<char>(code) + std::string(message);
}

// Nothing when all is well, otherwise the kind of the failure in one byte and its message.
std::string attempt(const std::function<void()>& body) {
  try {
    body();
  } catch (const lockstep::Error& error) {
    return failure_of(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return failure_of(ErrorCode::memory, "out of memory");
  } catch (const std::exception& error) {
    return failure_of(ErrorCode::foreign, error.what());
  }
  return {};
}

}  // namespace

void on_all_ranks(const lockstep::Communicator& world, const std::function<void()>& body) {
  const std::string failure = attempt(body);
  const auto failures = lockstep::allgather_varying(world, std::as_bytes(std::span(failure)));
  const auto first = std::ranges::find_if(failures, [](const auto& f) { return !f.empty(); });
  if (first == failures.end()) return;

  const auto rank = static_cast<std::size_t>(first - failures.begin());
  const auto code = static_cast<ErrorCode>(first->front());
  std::string message(reinterpret_cast<const char*>(first->data()) + 1, first->size() - 1);
  if (std::ranges::any_of(failures, [&](const auto& other) { return other != *first; }))
    message = fmt::format("rank {} on {}: {}", rank, host_names(world)[rank], message);
  if (code == ErrorCode::argument || code == ErrorCode::data) throw UsageError(message);
  lockstep::ErrorOrigin origin;
  origin.rank = static_cast<int>(rank);
  origin.num_ranks = world.size();
  lockstep::throw_error(code, message, std::make_shared<lockstep::ErrorOrigin>(origin));
}

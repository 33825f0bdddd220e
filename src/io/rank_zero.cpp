#include "io/rank_zero.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "comm/agreement.hpp"
#include "lockstep/comm/collectives.hpp"
#include "train/throw_on_all.hpp"

namespace lockstep {
namespace {

// Rank 0's bytes on all ranks.
template <class Bytes>
void share(const Communicator& group, const Meeting& meeting, Bytes& bytes) {
  std::array<std::uint64_t, 1> size{bytes.size()};
  broadcast(group, std::as_writable_bytes(std::span(size)), 0);
  const auto failure = attempt([&] { bytes.resize(static_cast<std::size_t>(size[0])); });
  agree(group, meeting, {}, failure);
  broadcast(group, std::as_writable_bytes(std::span(bytes)), 0);
}

}  // namespace

void on_rank_zero(const Communicator& group, const Meeting& meeting,
                  const std::function<void()>& body) {
  std::optional<Failure> failure;
  if (group.rank() == 0) failure = attempt(body);
  std::array<std::int64_t, 1> code{failure ? static_cast<std::int64_t>(failure->code) : 0};
  broadcast(group, std::as_writable_bytes(std::span(code)), 0);
  if (code[0] == 0) return;
  std::string text = failure ? failure->cause : "";
  share(group, meeting, text);
  throw_on_all(group, meeting, static_cast<ErrorCode>(code[0]), text);
}

std::vector<std::byte> bytes_of_rank_zero(const Communicator& group, const Meeting& meeting,
                                          const std::function<std::vector<std::byte>()>& read) {
  std::vector<std::byte> bytes;
  on_rank_zero(group, meeting, [&] { bytes = read(); });
  share(group, meeting, bytes);
  return bytes;
}

}  // namespace lockstep

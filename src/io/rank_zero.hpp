// What rank 0 does for all ranks, with files that the others need not see.

#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "comm/failure.hpp"
#include "lockstep/comm/communicator.hpp"

namespace lockstep {

/// Runs `body` on rank 0. What it throws is thrown on all ranks, in full. Collective.
void on_rank_zero(const Communicator& group, const Meeting& meeting,
                  const std::function<void()>& body);

/// The bytes that `read` gives on rank 0, on all ranks; errors likewise. Collective.
[[nodiscard]] std::vector<std::byte> bytes_of_rank_zero(
    const Communicator& group, const Meeting& meeting,
    const std::function<std::vector<std::byte>()>& read);

}  // namespace lockstep

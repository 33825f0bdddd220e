// Ranks make sure that they run the same programs before they send anything else.

#pragma once

#include "lockstep/comm/communicator.hpp"

namespace lockstep {

/// Throws MismatchError on all ranks alike, naming rank and host of one that differs from most,
/// unless all have the same build of the library, the same MPI, and the watchdog on or off alike.
/// Its messages are the same in all versions of the library: one of 16 bytes when all is well.
/// Collective.
void shake_hands(const Communicator& group);

}  // namespace lockstep

// Where the ranks run.

#pragma once

#include <string>
#include <vector>

#include "lockstep/comm/communicator.hpp"

/// The host names of all ranks, in rank order. Collective.
[[nodiscard]] std::vector<std::string> host_names(const lockstep::Communicator& world);

/// Host names in a few words, each once: "2 hosts (node1, node2)".
[[nodiscard]] std::string summary_of(std::vector<std::string> hosts);

/// Which lockstep and MPI, and where: "lockstep 0.1.0 on 2 ranks of 1 host (node1), Open MPI
/// v4.1.4", for the hosts of all ranks.
[[nodiscard]] std::string job_line(const std::vector<std::string>& hosts);

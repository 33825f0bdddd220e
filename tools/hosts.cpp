#include "hosts.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <span>

#include "lockstep/base/version.hpp"
#include "lockstep/comm/collectives.hpp"
#include "lockstep/comm/environment.hpp"

std::vector<std::string> host_names(const lockstep::Communicator& world) {
  const std::string name = lockstep::host_name();
  std::vector<std::string> names;
  for (const auto& bytes : lockstep::allgather_varying(world, std::as_bytes(std::span(name))))
    names.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return names;
}

std::string summary_of(std::vector<std::string> hosts) {
  constexpr std::size_t num_shown = 4;
  std::ranges::sort(hosts);
  hosts.erase(std::unique(hosts.begin(), hosts.end()), hosts.end());
  const std::span shown = std::span(hosts).first(std::min(hosts.size(), num_shown));
  return fmt::format("{} host{} ({}{})", hosts.size(), hosts.size() == 1 ? "" : "s",
                     fmt::join(shown, ", "), hosts.size() > num_shown ? ", ..." : "");
}

std::string job_line(const std::vector<std::string>& hosts) {
  return fmt::format("lockstep {} on {} rank{} of {}, {}", LOCKSTEP_VERSION, hosts.size(),
                     hosts.size() == 1 ? "" : "s", summary_of(hosts), lockstep::mpi_version());
}

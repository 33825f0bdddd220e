#include "failure_report.hpp"

#include <spdlog/fmt/fmt.h>

#include <exception>
#include <nlohmann/json.hpp>
#include <system_error>

#include "lockstep/base/version.hpp"
#include "lockstep/io/file.hpp"

namespace ls = lockstep;

namespace {

const char* name_of(ls::ErrorCode code) {
  switch (code) {
    case ls::ErrorCode::argument:
      return "argument";
    case ls::ErrorCode::mismatch:
      return "mismatch";
    case ls::ErrorCode::state:
      return "state";
    case ls::ErrorCode::non_finite:
      return "non_finite";
    case ls::ErrorCode::communication:
      return "communication";
    case ls::ErrorCode::data:
      return "data";
    case ls::ErrorCode::memory:
      return "memory";
    case ls::ErrorCode::foreign:
      break;
  }
  return "foreign";
}

nlohmann::json json_of(const ls::Communicator& world, const ls::Error& error) {
  nlohmann::json json{
      {"schema", "lockstep.error.1"}, {"version", LOCKSTEP_VERSION},
      {"rank", world.rank()},         {"ranks", world.size()},
      {"host", ls::host_name()},      {"kind", name_of(error.code())},
      {"message", error.what()},      {"on_all_ranks", error.is_agreed() || world.is_solo()}};
  if (const ls::ErrorOrigin* origin = error.origin())
    json["origin"] = {{"rank", origin->rank},       {"is_here", origin->is_here},
                      {"host", origin->host},       {"layer", origin->layer},
                      {"phase", origin->phase},     {"step", origin->step},
                      {"channel", origin->channel}, {"cause", origin->cause}};
  return json;
}

}  // namespace

std::filesystem::path error_folder_of(const std::string& run_folder) {
  return run_folder.empty() ? std::filesystem::path()
                            : std::filesystem::path(run_folder) / "errors";
}

void write_error_file(const std::filesystem::path& folder, const ls::Communicator& world,
                      const ls::Error& error) noexcept {
  if (folder.empty()) return;
  try {
    std::filesystem::create_directories(folder);
    ls::write_file(
        folder / fmt::format("rank_{:04}.json", world.rank()),
        json_of(world, error).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  } catch (const std::exception&) {
  }
}

void remove_error_files(const std::filesystem::path& folder) noexcept {
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(folder, none))
    if (entry.path().filename().string().starts_with("rank_"))
      std::filesystem::remove(entry.path(), none);
  std::filesystem::remove(folder, none);  // unless others keep something in it
}

std::string failure_block(const ls::Communicator& world, const ls::Error& error,
                          const std::filesystem::path& folder) {
  std::string block = fmt::format("lockstep: {}\n", error.what());
  if (!world.is_solo()) block += fmt::format("all {} ranks ended with this error\n", world.size());
  if (error.is_agreed() && error.origin()->step >= 0)
    block += "nothing of the step that failed is left in the model\n";
  std::error_code none;
  if (!folder.empty() && std::filesystem::exists(folder, none))
    block += fmt::format("more, of each rank: {}\n", folder.string());
  return block;
}

#include "conformance/report.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "lockstep/base/error.hpp"

namespace lockstep::conformance {
namespace {

std::ptrdiff_t count(const std::vector<Judgement>& judgements, Verdict verdict) {
  return std::ranges::count(judgements, verdict, &Judgement::verdict);
}

nlohmann::json json_of(const Judgement& judgement) {
  nlohmann::json runs = nlohmann::json::array();
  for (const RunRecord& run : judgement.runs)
    runs.push_back({{"precision", name_in_format(run.precision)},
                    {"cut", run.cut},
                    {"worst_in_tolerances", run.worst}});
  return {{"id", judgement.id},
          {"verdict", to_string(judgement.verdict)},
          {"reason", judgement.reason},
          {"runs", runs}};
}

}  // namespace

std::string summary_of(const std::vector<Judgement>& judgements) {
  return fmt::format("{} passed, {} failed, {} skipped", count(judgements, Verdict::passed),
                     count(judgements, Verdict::failed), count(judgements, Verdict::skipped));
}

void write_report(const std::filesystem::path& file, int num_ranks,
                  const std::vector<Judgement>& judgements) {
  nlohmann::json report{{"ranks", num_ranks}, {"cases", nlohmann::json::array()}};
  for (const Verdict verdict : {Verdict::passed, Verdict::failed, Verdict::skipped})
    report[to_string(verdict)] = count(judgements, verdict);
  for (const Judgement& judgement : judgements) report["cases"].push_back(json_of(judgement));
  std::ofstream stream(file);
  stream << report.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  if (!stream.flush())
    throw DataError(fmt::format("the report {} cannot be written", file.string()));
}

}  // namespace lockstep::conformance

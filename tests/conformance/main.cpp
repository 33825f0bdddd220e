// Runs conformance cases on the ranks of an MPI job:
//
//   mpirun -n 3 conformance --cases FOLDER [--group NAME ...] [--precision f32|f64]
//     [--statistics exact|fast] [--report FILE]
//
// Says what failed and why. Exit status: 0 when nothing failed, 1 when a case failed, 2 when the
// folder or the arguments cannot be used.

#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <map>
#include <string>
#include <vector>

#include "conformance/folder.hpp"
#include "conformance/judgement.hpp"
#include "conformance/on_all_ranks.hpp"
#include "conformance/report.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/comm/environment.hpp"

namespace {

using namespace lockstep;
using namespace lockstep::conformance;

constexpr int exit_passed = 0;
constexpr int exit_failed = 1;
constexpr int exit_unusable = 2;

struct Arguments {
  std::string cases;
  std::vector<std::string> groups;
  std::string precision;
  Statistics statistics = Statistics::exact;
  std::string report;
};

const std::map<std::string, Statistics> statistics_by_name{{"exact", Statistics::exact},
                                                           {"fast", Statistics::fast}};

// The precisions that the case is meant for, or the one of them that is wanted.
std::vector<DType> precisions_of(const Case& one, const std::string& wanted) {
  std::vector<DType> precisions = one.precisions;
  std::erase_if(precisions, [&](DType precision) {
    return !wanted.empty() && name_in_format(precision) != wanted;
  });
  return precisions;
}

std::vector<Judgement> judge_all(const Communicator& world, const std::vector<Case>& cases,
                                 const std::string& precision) {
  std::vector<Judgement> judgements;
  for (const Case& one : cases) {
    const auto precisions = precisions_of(one, precision);
    if (precisions.empty()) continue;
    judgements.push_back(judge(world, one, precisions));
    const Judgement& last = judgements.back();
    if (world.rank() != 0 || last.verdict == Verdict::passed) continue;
    fmt::print("{} {}: {}\n", to_string(last.verdict), last.id, last.reason);
    std::fflush(stdout);
  }
  if (judgements.empty())
    throw CaseFailure(fmt::format("no case is meant for the precision {}", precision));
  return judgements;
}

int run(const Communicator& world, const Arguments& arguments) {
  try {
    std::vector<Case> cases;
    on_all_ranks(world, [&] { cases = cases_in(arguments.cases, arguments.groups); });
    for (Case& one : cases) one.options.statistics = arguments.statistics;
    const auto judgements = judge_all(world, cases, arguments.precision);
    const bool has_report = world.rank() == 0 && !arguments.report.empty();
    on_all_ranks(world, [&] {
      if (has_report) write_report(arguments.report, world.size(), judgements);
    });
    if (world.rank() == 0) fmt::print("{}\n", summary_of(judgements));
    const bool has_failed =
        std::ranges::count(judgements, Verdict::failed, &Judgement::verdict) != 0;
    return has_failed ? exit_failed : exit_passed;
  } catch (const CaseFailure& failure) {
    if (world.rank() == 0) fmt::print(stderr, "conformance: {}\n", failure.what());
    return exit_unusable;
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Environment environment(argc, argv);
    const Communicator world = Communicator::world();
    Arguments arguments;
    CLI::App app("Runs conformance cases of batch normalization on all ranks of an MPI job.");
    app.add_option("--cases", arguments.cases, "folder of groups")->required();
    app.add_option("--group", arguments.groups, "only these groups");
    app.add_option("--precision", arguments.precision, "only this one of a case's precisions")
        ->check(CLI::IsMember({"f32", "f64"}));
    app.add_option("--statistics", arguments.statistics, "how sums are taken")
        ->transform(CLI::Transformer(statistics_by_name));
    app.add_option("--report", arguments.report, "JSON file to write");
    try {
      app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      const int exit_code = error.get_exit_code() == 0 ? exit_passed : exit_unusable;
      if (world.rank() == 0) app.exit(error);
      return exit_code;
    }
    return run(world, arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "conformance: %s\n", error.what());
    return exit_unusable;
  }
}

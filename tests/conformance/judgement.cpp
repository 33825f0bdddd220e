#include "conformance/judgement.hpp"

#include <spdlog/fmt/fmt.h>

#include "conformance/cut.hpp"
#include "conformance/run.hpp"

namespace lockstep::conformance {

Judgement judge(const Communicator& world, const Case& one, const std::vector<DType>& precisions) {
  Judgement judgement{one.id, Verdict::passed, {}, {}};
  const Verdict unsupported = one.is_optional ? Verdict::skipped : Verdict::failed;
  const auto end = [&](Verdict verdict, const std::string& reason) {
    judgement.verdict = verdict;
    judgement.reason = reason;
    return judgement;
  };
  if (!one.damage.empty()) return end(Verdict::failed, one.damage);
  if (!one.objections.empty())
    return end(unsupported, fmt::format("{}", fmt::join(one.objections, "; ")));
  for (const DType precision : precisions)
    for (const Cut& cut : cuts_of(one, world.size())) {
      const std::string how = fmt::format("{}, {}", name_in_format(precision), to_string(cut));
      try {
        const double worst = run(world, one, precision, cut);
        judgement.runs.push_back({precision, to_string(cut), worst});
      } catch (const Refusal& refusal) {
        return end(unsupported, fmt::format("({}) {}", how, refusal.what()));
      } catch (const CaseFailure& failure) {
        return end(Verdict::failed, fmt::format("({}) {}", how, failure.what()));
      }
    }
  return judgement;
}

std::string to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::passed:
      return "passed";
    case Verdict::failed:
      return "failed";
    case Verdict::skipped:
      return "skipped";
  }
  return {};
}

}  // namespace lockstep::conformance

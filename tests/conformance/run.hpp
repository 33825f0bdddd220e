// One run of a case: its steps on one layer.

#pragma once

#include "conformance/case.hpp"
#include "conformance/cut.hpp"
#include "conformance/on_all_ranks.hpp"
#include "lockstep/base/dtype.hpp"
#include "lockstep/comm/communicator.hpp"

namespace lockstep::conformance {

/// The layer does not take the options of the case.
class Refusal : public CaseFailure {
 public:
  using CaseFailure::CaseFailure;
};

/// Runs the case in a precision, cut over the ranks of `world`, and compares everything that it
/// expects. Returns the largest deviation in units of its tolerance. Throws on all ranks alike:
/// Refusal, or CaseFailure when the layer fails, numbers are wrong or ranks differ. Collective.
double run(const Communicator& world, const Case& one, DType precision, const Cut& cut);

}  // namespace lockstep::conformance

// What a merge of statistics takes.

#pragma once

#include <vector>

#include "bench/measure.hpp"
#include "bench/row.hpp"
#include "lockstep/comm/communicator.hpp"

/// An allreduce of 2 C + 1 doubles for several C; none on one rank. Collective.
[[nodiscard]] std::vector<Row> merge_rows(const lockstep::Communicator& world,
                                          const MeasureOptions& options);

// What a whole training step takes.

#pragma once

#include <string>
#include <vector>

#include "bench/measure.hpp"
#include "bench/row.hpp"
#include "lockstep/comm/communicator.hpp"

/// A step of `lockstep train --model cnn` with its default batch, cut over the ranks, with batch
/// statistics of each rank, and with those of all ranks where there are several. Collective.
[[nodiscard]] std::vector<Row> step_rows(const lockstep::Communicator& world,
                                         const std::string& dtype, const MeasureOptions& options);

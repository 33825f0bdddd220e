// Where things are slowest, compared with the floor.

#pragma once

#include <string>
#include <vector>

#include "bench/row.hpp"

/// For every pass and layout that is measured against the floor, by name, its largest ratio and the
/// shape that has it: "forward nchw: 2.31 times the floor, at 3x17x7x7". Calls of a few
/// microseconds are far from the floor whatever they do, so the worst of the longer ones is added
/// where it is another: "; from 100 us on 1.20, at 157x17x56x56".
[[nodiscard]] std::vector<std::string> worst_ratios(const std::vector<Row>& rows);

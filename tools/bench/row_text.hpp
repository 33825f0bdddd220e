// A measure as a line of text.

#pragma once

#include <string>

#include "bench/row.hpp"

/// Columns of fixed width, and their heads; "-" where there is nothing to say.
[[nodiscard]] std::string table_heads();
[[nodiscard]] std::string table_line(const Row& row);

/// Comma-separated values, and their heads; nothing between two commas where there is nothing to
/// say.
[[nodiscard]] std::string csv_heads();
[[nodiscard]] std::string csv_line(const Row& row);

/// A record of the schema lockstep.bench.1; a field is missing where there is nothing to say.
[[nodiscard]] std::string json_line(const Row& row);

/// "1.15x" or "2.00us".
[[nodiscard]] std::string text_of(const Target& target);

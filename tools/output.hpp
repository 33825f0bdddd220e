// The two streams of the command.

#pragma once

#include <cstdio>
#include <string>

/// Writes to standard output at once. Throws DataError when that fails: a result that a full disk
/// swallows is an error.
void write_result(const std::string& text);

/// Writes what is no result, and may get lost.
void show(std::FILE* stream, const std::string& text);

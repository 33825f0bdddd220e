// The least that normalizing costs: plain passes over memory that move the same bytes.

#pragma once

#include <cstddef>
#include <string_view>

/// How results are stored: through the cache, or past it where the memory has room for that.
enum class Stores : unsigned char { regular, streaming };

/// The passes know neither layouts nor types: they add 32-bit integers. Sizes are in bytes; what
/// follows the last whole group of vectors is left out. Memory is aligned to 64 bytes.
void read_pass(const std::byte* a, std::size_t size);
void read_pass(const std::byte* a, const std::byte* b, std::size_t size);
void write_pass(const std::byte* a, std::byte* to, std::size_t size, Stores stores);
void write_pass(const std::byte* a, const std::byte* b, std::byte* to, std::size_t size,
                Stores stores);
/// Writes two results.
void write_pass(const std::byte* a, const std::byte* b, std::byte* to, std::byte* also_to,
                std::size_t size, Stores stores);

/// The instruction set that the passes use: "AVX2".
[[nodiscard]] std::string_view floor_instruction_set();

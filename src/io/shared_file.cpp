#include "io/shared_file.hpp"

#include <cstddef>
#include <fstream>
#include <vector>

#include "comm/agreement.hpp"
#include "io/rank_zero.hpp"

namespace lockstep {
namespace {

// A header that fits the file says that its size is no invention.
std::vector<std::byte> checked_bytes_of(const std::filesystem::path& path) {
  static_cast<void>(read_safetensors_header(path));
  std::vector<std::byte> bytes(static_cast<std::size_t>(std::filesystem::file_size(path)));
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<std::size_t>(file.gcount()));
  static_cast<void>(read_safetensors(bytes, path.string()));
  return bytes;
}

}  // namespace

TensorFile read_shared_safetensors(const Communicator& group, const Meeting& meeting,
                                   const std::filesystem::path& path) {
  const auto bytes = bytes_of_rank_zero(group, meeting, [&] { return checked_bytes_of(path); });
  TensorFile content;
  const auto failure = attempt([&] { content = read_safetensors(bytes, path.string()); });
  agree(group, meeting, {}, failure);
  return content;
}

}  // namespace lockstep

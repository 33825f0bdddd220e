#include "lockstep/io/safetensors.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <functional>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/bytes.hpp"
#include "io/crc32c.hpp"
#include "io/replace_file.hpp"
#include "io/safetensors_header.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

// Bytes of known number that can be read anywhere.
struct Source {
  std::string what;
  std::uint64_t num_bytes = 0;
  std::function<void(std::uint64_t offset, std::span<std::byte> target)> read;
};

Source source_of(std::span<const std::byte> bytes, const std::string& what) {
  return {what, bytes.size(), [bytes](std::uint64_t offset, std::span<std::byte> target) {
            std::ranges::copy(bytes.subspan(static_cast<std::size_t>(offset), target.size()),
                              target.begin());
          }};
}

Source source_of(std::ifstream& file, const std::filesystem::path& path) {
  const std::string what = path.string();
  const auto refuse = [&](const std::string& reason) {
    throw DataError(fmt::format("cannot read {}: {}", what, reason));
  };
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::is_regular_file(status))
    refuse(std::filesystem::exists(status) ? "it is no regular file" : error.message());
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error) refuse(error.message());
  file.open(path, std::ios::binary);
  if (!file) refuse(std::system_category().message(errno));
  return {what, size, [&file, what](std::uint64_t offset, std::span<std::byte> target) {
            file.seekg(static_cast<std::streamoff>(offset));
            file.read(reinterpret_cast<char*>(target.data()),
                      static_cast<std::streamsize>(target.size()));
            if (file.gcount() != static_cast<std::streamsize>(target.size()))
              refuse_safetensors(what, offset,
                                 fmt::format("expected {} bytes, found {}", target.size(),
                                             std::max<std::streamsize>(file.gcount(), 0)));
          }};
}

SafetensorsHeader header_of(const Source& source) {
  std::vector<std::byte> bytes(
      static_cast<std::size_t>(std::min<std::uint64_t>(source.num_bytes, num_length_bytes)));
  source.read(0, bytes);
  const std::uint64_t length = header_length_of(bytes, source.num_bytes, source.what);
  bytes.resize(num_length_bytes + static_cast<std::size_t>(length));
  source.read(0, bytes);
  return parse_safetensors_header(bytes, source.num_bytes, source.what);
}

// A bool of another value would be undefined behaviour.
void check_booleans(const Source& source, std::uint64_t offset, std::span<const std::byte> bytes) {
  const auto wrong =
      std::ranges::find_if(bytes, [](std::byte byte) { return byte > std::byte{1}; });
  if (wrong != bytes.end())
    refuse_safetensors(
        source.what, offset + static_cast<std::uint64_t>(wrong - bytes.begin()),
        fmt::format("expected a boolean, 0 or 1, found {}", std::to_integer<int>(*wrong)));
}

// Reads the data of a tensor in pieces, each to where `place` says, and checks them.
void read_data(const Source& source, const SafetensorsHeader& header, const TensorEntry& entry,
               const std::function<std::span<std::byte>(std::size_t size)>& place) {
  constexpr std::uint64_t piece = std::uint64_t{1} << 20;
  const std::uint64_t begin = header.num_header_bytes + entry.first;
  const std::uint64_t end = header.num_header_bytes + entry.last;
  std::uint32_t checksum = 0;
  for (std::uint64_t offset = begin; offset < end; offset += piece) {
    const auto bytes = place(static_cast<std::size_t>(std::min(piece, end - offset)));
    source.read(offset, bytes);
    checksum = crc32c(bytes, checksum);
    if (entry.dtype == DType::boolean) check_booleans(source, offset, bytes);
  }
  if (entry.checksum && *entry.checksum != checksum)
    refuse_safetensors(source.what, begin,
                       fmt::format("'{}' is damaged: its checksum is {:08x}, the header says "
                                   "{:08x}",
                                   entry.name, checksum, *entry.checksum));
}

TensorFile read(const Source& source) {
  SafetensorsHeader header = header_of(source);
  TensorFile content;
  for (const TensorEntry& entry : header.entries) {
    Tensor tensor(entry.shape, entry.dtype);
    std::span<std::byte> rest = bytes_of(MutableTensorView(tensor));
    read_data(source, header, entry, [&](std::size_t size) {
      return std::exchange(rest, rest.subspan(size)).first(size);
    });
    content.tensors.emplace(entry.name, std::move(tensor));
  }
  content.metadata = std::move(header.metadata);
  return content;
}

SafetensorsHeader verify(const Source& source) {
  SafetensorsHeader header = header_of(source);
  std::vector<std::byte> memory;
  for (const TensorEntry& entry : header.entries)
    read_data(source, header, entry, [&](std::size_t size) {
      memory.resize(size);
      return std::span(memory);
    });
  return header;
}

// Large elements first, so that all are aligned; then by name.
std::vector<TensorEntry> entries_of(const TensorFile& content) {
  std::vector<TensorEntry> entries;
  for (const auto& [name, tensor] : content.tensors)
    entries.push_back({name, tensor.dtype(), tensor.shape(), 0, 0, crc32c(bytes_of(tensor))});
  std::ranges::stable_sort(entries, std::ranges::greater(),
                           [](const TensorEntry& entry) { return size_of(entry.dtype); });
  std::uint64_t next = 0;
  for (TensorEntry& entry : entries) {
    entry.first = next;
    next += num_bytes_of(entry.shape, entry.dtype);
    entry.last = next;
  }
  return entries;
}

template <class Write>
void write(const TensorFile& content, Write&& write_bytes) {
  const std::vector<TensorEntry> entries = entries_of(content);
  const std::string header = safetensors_header_of(entries, content.metadata);
  write_bytes(std::as_bytes(std::span(header)));
  for (const TensorEntry& entry : entries)
    write_bytes(bytes_of(TensorView(content.tensors.at(entry.name))));
}

}  // namespace

TensorFile read_safetensors(std::span<const std::byte> bytes, const std::string& what) {
  return read(source_of(bytes, what));
}

TensorFile read_safetensors(const std::filesystem::path& path) {
  std::ifstream file;
  return read(source_of(file, path));
}

SafetensorsHeader read_safetensors_header(const std::filesystem::path& path) {
  std::ifstream file;
  return header_of(source_of(file, path));
}

SafetensorsHeader verify_safetensors(const std::filesystem::path& path) {
  std::ifstream file;
  return verify(source_of(file, path));
}

std::vector<std::byte> safetensors_of(const TensorFile& content) {
  std::vector<std::byte> all;
  write(content, [&](std::span<const std::byte> bytes) {
    all.insert(all.end(), bytes.begin(), bytes.end());
  });
  return all;
}

void write_safetensors(const std::filesystem::path& path, const TensorFile& content) {
  const auto fill = [&](OutputFile& file) {
    write(content, [&](std::span<const std::byte> bytes) {
      file.write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    });
  };
  replace_file(path, fill, [](const std::filesystem::path& temporary) {
    static_cast<void>(verify_safetensors(temporary));
  });
}

}  // namespace lockstep

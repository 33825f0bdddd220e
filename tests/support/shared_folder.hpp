// A temporary folder that all ranks of a test know.

#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string_view>

#include "lockstep/comm/collectives.hpp"
#include "support/temporary_folder.hpp"

namespace lockstep::testing {

/// All of them, for tests that share a folder.
inline const Communicator& ranks() {
  static const Communicator world = Communicator::world();
  return world;
}

/// Made by rank 0, gone when all ranks have left it.
class SharedFolder {
 public:
  explicit SharedFolder(const Communicator& group) : group_(group) {
    std::array<char, 256> name{};
    if (group.rank() == 0) {
      own_.emplace();
      own_->path().string().copy(name.data(), name.size() - 1);
    }
    broadcast(group, std::as_writable_bytes(std::span(name)), 0);
    path_ = name.data();
  }
  ~SharedFolder() { meet(); }
  SharedFolder(const SharedFolder&) = delete;
  SharedFolder& operator=(const SharedFolder&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] std::filesystem::path operator/(std::string_view name) const {
    return path_ / name;
  }

  /// Runs `body` on rank 0 while the others wait.
  template <class Body>
  void on_rank_zero(Body&& body) const {
    if (group_.rank() == 0) body();
    meet();
  }

 private:
  void meet() const {
    std::array<std::int64_t, 1> nothing{};
    allreduce(group_, nothing, Reduction::sum);
  }

  const Communicator& group_;
  std::optional<TemporaryFolder> own_;
  std::filesystem::path path_;
};

}  // namespace lockstep::testing

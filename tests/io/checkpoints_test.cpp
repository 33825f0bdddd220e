// Which checkpoints a run leaves, which one is resumed, and that a save that fails harms none.

#include "lockstep/io/checkpoints.hpp"

#include <sys/mount.h>
#include <sys/resource.h>

#include <cerrno>
#include <csignal>
#include <limits>

#include "io/checkpoint_models.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/io/safetensors.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"
#include "support/shared_folder.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

using Catch::Matchers::Contains;

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

std::string name_of(int num_steps) {
  const std::string number = std::to_string(num_steps);
  return "step_" + std::string(8 - number.size(), '0') + number + ".safetensors";
}

std::vector<std::string> names_of(std::initializer_list<int> steps) {
  std::vector<std::string> names{"latest"};
  for (const int num_steps : steps) names.push_back(name_of(num_steps));
  return names;
}

std::shared_ptr<Checkpoints> saving(CheckpointsOptions options) {
  return std::make_shared<Checkpoints>(std::move(options));
}

// Files of at most so many bytes as long as this lives, as with a full disk or a quota.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t num_bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{num_bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  void (*handler_)(int);
  rlimit before_{};
};

}  // namespace

TEST_CASE("a run saves after its epochs and keeps the newest ones", "[io]") {
  const SharedFolder folder(ranks());
  Training training;
  training.run(23, {saving({.folder = folder / "c", .keep = 2, .keep_best = false})});
  REQUIRE_ON_ALL_RANKS(ranks(), names_in(folder / "c") == names_of({20, 23}));
  REQUIRE_ON_ALL_RANKS(ranks(),
                       std::filesystem::read_symlink(folder / "c" / "latest") == name_of(23));
  for (const CheckpointFile& file : checkpoints_in(folder / "c"))
    REQUIRE_NOTHROW(verify_checkpoint(file.path));
}

TEST_CASE("what holds NaN is not saved and pushes out nothing", "[io]") {
  const SharedFolder folder(ranks());
  const bool goes_on = GENERATE(false, true);
  class Spoil final : public Callback {
   public:
    void on_step_end(Trainer& trainer, const StepRecord&) override {
      if (trainer.num_steps() != 7) return;
      trainer.model().variables().front()->value().values<float>()[0] =
          std::numeric_limits<float>::quiet_NaN();
    }
  };
  int num_refused = 0;
  CheckpointsOptions options{
      .folder = folder / "c", .save_every = 4, .keep = 1, .keep_best = false};
  if (goes_on) options.on_failure = [&](const std::string&) { ++num_refused; };
  Training training;
  training.run(4, {saving(options)});
  const Caught caught = caught_from([&] {
    training.run(7, {std::make_shared<Spoil>(), saving(options)});
  });
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(ranks(), goes_on ? caught.what.empty() : caught.is(ErrorCode::non_finite));
  REQUIRE_ON_ALL_RANKS(ranks(), goes_on || caught.what.find("NaN") != std::string::npos);
  REQUIRE_ON_ALL_RANKS(ranks(), num_refused == (goes_on && ranks().rank() == 0 ? 1 : 0));
  REQUIRE_ON_ALL_RANKS(ranks(), names_in(folder / "c") == names_of({4}));
}

TEST_CASE("a run saves after every so many steps, and when it ends", "[io]") {
  const SharedFolder folder(ranks());
  Training training;
  training.run(11, {saving({.folder = folder / "a", .save_every = 4, .keep_best = false})});
  REQUIRE_ON_ALL_RANKS(ranks(), names_in(folder / "a") == names_of({4, 8, 11}));
}

TEST_CASE("a run that is stopped saves where it stops", "[io]") {
  class Stop final : public Callback {
   public:
    void on_step_end(Trainer& trainer, const StepRecord& record) override {
      if (record.step == 2 && ranks().rank() == ranks().size() - 1) trainer.request_stop();
    }
  };
  const SharedFolder folder(ranks());
  Training training;
  training.run(11, {saving({.folder = folder / "a", .save_every = 100, .keep_best = false}),
                    std::make_shared<Stop>()});
  const auto files = checkpoints_in(folder / "a");
  REQUIRE_ON_ALL_RANKS(ranks(), files.size() == 1);
  REQUIRE_ON_ALL_RANKS(ranks(), files[0].num_steps == training.trainer->num_steps());
  REQUIRE_ON_ALL_RANKS(ranks(), files[0].num_steps < 11);
}

TEST_CASE("the checkpoint with the smallest validation loss stays", "[io]") {
  const SharedFolder folder(ranks());
  Training training({.uses_adam = true});
  const History history =
      training.run(40, {saving({.folder = folder / "c", .save_every = 7, .keep = 1})});
  const auto best = std::ranges::min_element(
      history.epochs, {}, [](const EpochRecord& epoch) { return epoch.validation->loss; });
  std::vector<std::string> expected{"latest", name_of(40)};
  if (best->num_steps != 40) expected.push_back(name_of(static_cast<int>(best->num_steps)));
  std::ranges::sort(expected);
  REQUIRE_ON_ALL_RANKS(ranks(), names_in(folder / "c") == expected);

  // Also in a later run that is worse, which starts there.
  Training worse({.uses_adam = true});
  static_cast<void>(resume(*worse.trainer, folder / "c"));
  worse.trainer->optimizer().set_learning_rate(10.0);
  worse.run(55, {saving({.folder = folder / "c", .keep = 1})});
  REQUIRE_ON_ALL_RANKS(
      ranks(), std::filesystem::exists(folder / "c" / name_of(static_cast<int>(best->num_steps))));
}

TEST_CASE("the newest checkpoint that is whole is resumed, and others are passed over", "[io]") {
  const SharedFolder folder(ranks());
  Training training;
  training.run(15, {saving({.folder = folder / "c"})});
  const auto path_of = [&](int step) { return folder / "c" / name_of(step); };
  folder.on_rank_zero([&] {
    std::string damaged = content_of(path_of(15));
    damaged[damaged.size() / 2] ^= 1;
    set_content(path_of(15), damaged);
    set_content(folder / "c" / (name_of(20) + ".123.tmp"), "half");
    set_content(folder / "c" / "latest.123.tmp", "");
    set_content(folder / "c" / "notes.tmp", "of somebody");
  });
  Training other;
  const Resumption found = resume(*other.trainer, folder / "c");
  REQUIRE_ON_ALL_RANKS(ranks(), found.from && found.from->path == path_of(10));
  REQUIRE_ON_ALL_RANKS(ranks(), found.from->num_steps == 10);
  REQUIRE_ON_ALL_RANKS(ranks(), found.passed_over.size() == 1);
  REQUIRE_ON_ALL_RANKS(ranks(), found.passed_over[0].find("is damaged") != std::string::npos);
  REQUIRE_ON_ALL_RANKS(ranks(), other.trainer->num_steps() == 10);
  std::vector<std::string> left = names_of({5, 10, 15});
  left.insert(left.begin() + 1, "notes.tmp");
  REQUIRE_ON_ALL_RANKS(ranks(), names_in(folder / "c") == left);

  // The damaged one is set aside by the run that goes on, so that its own ones count.
  other.run(13, {saving({.folder = folder / "c", .keep_best = false})});
  const auto files = checkpoints_in(folder / "c");
  REQUIRE_ON_ALL_RANKS(ranks(), files[0].num_steps == 13);
  REQUIRE_ON_ALL_RANKS(ranks(),
                       std::filesystem::exists(folder / "c" / (name_of(15) + ".abandoned")));
}

TEST_CASE("a folder without a checkpoint is no error, one with damaged ones alone is", "[io]") {
  const SharedFolder folder(ranks());
  Training training;
  REQUIRE_ON_ALL_RANKS(ranks(), !resume(*training.trainer, folder / "missing").from);
  REQUIRE_ON_ALL_RANKS(ranks(), training.trainer->num_steps() == 0);
  folder.on_rank_zero([&] {
    set_content(folder / name_of(1), "");
    set_content(folder / name_of(2), "nonsense of some length");
  });
  const Caught caught =
      caught_from([&] { static_cast<void>(resume(*training.trainer, folder.path())); });
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(ranks(), caught.is(ErrorCode::data));
  REQUIRE_ON_ALL_RANKS(ranks(), is_same_on_all_ranks(ranks(), caught));
  for (const std::string& name : {name_of(1), name_of(2)})
    REQUIRE_ON_ALL_RANKS(ranks(), caught.what.find(name) != std::string::npos);
}

TEST_CASE("a save that fails ends the run on all ranks, and older checkpoints stay", "[io]") {
  const SharedFolder folder(ranks());
  Training training;
  const auto options = [&] {
    return CheckpointsOptions{.folder = folder / "c", .save_every = 2, .keep_best = false};
  };
  training.run(2, {saving(options())});
  const std::string before = content_of(folder / "c" / name_of(2));
  Caught caught;
  {
    const FileSizeLimit limit(2000);
    caught = caught_from([&] { training.run(8, {saving(options())}); });
  }
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(ranks(), caught.is(ErrorCode::data));
  REQUIRE_ON_ALL_RANKS(ranks(), caught.what.find("File too large") != std::string::npos);
  REQUIRE_ON_ALL_RANKS(ranks(), is_same_on_all_ranks(ranks(), caught));
  REQUIRE_ON_ALL_RANKS(ranks(), training.trainer->num_steps() == 4);
  REQUIRE_ON_ALL_RANKS(ranks(), names_in(folder / "c") == names_of({2}));
  REQUIRE_ON_ALL_RANKS(ranks(), content_of(folder / "c" / name_of(2)) == before);
  training.run(8, {saving(options())});
  REQUIRE_ON_ALL_RANKS(ranks(), names_in(folder / "c") == names_of({2, 6, 8}));
}

TEST_CASE("replicas that have drifted apart are not saved, and end the run", "[io]") {
  if (ranks().is_solo()) return;
  const SharedFolder folder(ranks());
  Training training;
  const CheckpointsOptions options{
      .folder = folder / "c", .save_every = 2, .on_failure = [](const std::string&) {}};
  training.run(2, {saving(options)});
  Variable& drifting = *training.model.variables().front();
  if (ranks().rank() == 1) drifting.value().values<float>()[0] += 1.0F;
  const Caught caught = caught_from([&] { training.run(6, {saving(options)}); });
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(ranks(), caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(ranks(), caught.what.find(drifting.name()) != std::string::npos);
  REQUIRE_ON_ALL_RANKS(ranks(), is_same_on_all_ranks(ranks(), caught));
  REQUIRE_ON_ALL_RANKS(ranks(), names_in(folder / "c") == names_of({2}));
}

TEST_CASE("a save that fails may be told, and the run goes on to the same bits", "[io]") {
  const SharedFolder folder(ranks());
  Training training, plain;
  std::vector<std::string> reasons;
  const auto options = [&] {
    return CheckpointsOptions{.folder = folder / "c",
                              .save_every = 2,
                              .keep_best = false,
                              .on_failure = [&](const std::string& r) { reasons.push_back(r); }};
  };
  {
    const FileSizeLimit limit(2000);
    training.run(8, {saving(options())});
  }
  plain.run(8);
  REQUIRE_ON_ALL_RANKS(ranks(), training.bits() == plain.bits());
  REQUIRE_ON_ALL_RANKS(ranks(), reasons.size() == (ranks().rank() == 0 ? 5U : 0U));
  REQUIRE_ON_ALL_RANKS(ranks(), checkpoints_in(folder / "c").empty());
  training.run(9, {saving(options())});
  REQUIRE_ON_ALL_RANKS(ranks(), names_in(folder / "c") == names_of({9}));
}

TEST_CASE("a disk that is full or read-only is named, and the older checkpoint stays", "[io]") {
  const SharedFolder folder(ranks());
  Training training;
  training.run(2);
  std::array<std::int64_t, 1> has_disk{0};
  folder.on_rank_zero([&] {
    std::filesystem::create_directory(folder / "disk");
    has_disk[0] = ::mount("tmpfs", (folder / "disk").c_str(), "tmpfs", 0, "size=64k") == 0;
  });
  broadcast(ranks(), std::as_writable_bytes(std::span(has_disk)), 0);
  if (has_disk[0] == 0) {
    WARN("skipped: no disk can be mounted here");
    return;
  }
  const auto fail_to_save = [&](const std::string& reason) {
    const std::string before = content_of(folder / "disk" / "file");
    const Caught caught =
        caught_from([&] { save_checkpoint(*training.trainer, folder / "disk" / "file"); });
    const bool is_named = caught.is(ErrorCode::data) && is_same_on_all_ranks(ranks(), caught);
    return is_named && caught.what.find(reason) != std::string::npos &&
           content_of(folder / "disk" / "file") == before && !before.empty() &&
           names_in(folder / "disk").size() == 2;
  };
  const auto remount = [&](unsigned long flags) {
    folder.on_rank_zero([&] {
      ::mount("tmpfs", (folder / "disk").c_str(), "tmpfs", MS_REMOUNT | flags, "size=64k");
    });
  };
  save_checkpoint(*training.trainer, folder / "disk" / "file");
  folder.on_rank_zero([&] {
    std::ofstream rest(folder / "disk" / "rest");
    const std::string page(4096, 'x');
    while (rest.write(page.data(), std::ssize(page)).flush()) {
    }
  });
  const bool is_full = fail_to_save("No space left on device");
  remount(MS_RDONLY);
  const bool is_read_only = fail_to_save("Read-only file system");
  remount(0);
  folder.on_rank_zero([&] { std::filesystem::remove(folder / "disk" / "rest"); });
  const bool works_again = caught_from([&] {
                             save_checkpoint(*training.trainer, folder / "disk" / "file");
                           }).what.empty();
  folder.on_rank_zero([&] { ::umount((folder / "disk").c_str()); });
  REQUIRE_ON_ALL_RANKS(ranks(), is_full);
  REQUIRE_ON_ALL_RANKS(ranks(), is_read_only);
  REQUIRE_ON_ALL_RANKS(ranks(), works_again);
}

TEST_CASE("options that cannot be used are refused") {
  CHECK_THROWS_WITH(Checkpoints({.save_every = -1}), Contains("save_every >= 0"));
  CHECK_THROWS_WITH(Checkpoints({.keep = 0}), Contains("keep >= 1"));
}

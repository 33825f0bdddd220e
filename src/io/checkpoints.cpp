#include "lockstep/io/checkpoints.hpp"

#include <spdlog/fmt/fmt.h>
#include <spdlog/fmt/ranges.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "base/finite.hpp"
#include "io/checkpoint_content.hpp"
#include "io/checkpoint_folder.hpp"
#include "io/rank_zero.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/train/drift_check.hpp"

namespace lockstep {
namespace {

// As bytes, for the other ranks. CBOR: paths need not be UTF-8.
std::vector<std::byte> packed(const Resumption& resumption) {
  nlohmann::json json = {{"passed_over", resumption.passed_over}};
  if (resumption.from) json["from"] = {resumption.from->path.string(), resumption.from->num_steps};
  const std::vector<std::uint8_t> bytes = nlohmann::json::to_cbor(json);
  const auto all = std::as_bytes(std::span(bytes));
  return {all.begin(), all.end()};
}

Resumption unpacked(std::span<const std::byte> bytes) {
  const auto* first = reinterpret_cast<const std::uint8_t*>(bytes.data());
  const nlohmann::json json = nlohmann::json::from_cbor(first, first + bytes.size());
  Resumption resumption;
  json.at("passed_over").get_to(resumption.passed_over);
  if (json.contains("from"))
    resumption.from = {json["from"][0].get<std::string>(), json["from"][1].get<std::int64_t>()};
  return resumption;
}

// Errors that another try may not meet: of the disk, of memory for copies, of the numbers now.
bool may_pass(ErrorCode code) {
  return code == ErrorCode::data || code == ErrorCode::memory || code == ErrorCode::non_finite;
}

// What no training can go on from must not push out what one can.
void require_finite(const TensorFile& content) {
  for (const auto& [name, tensor] : content.tensors)
    if (is_floating(tensor.dtype()) && first_nonfinite(tensor))
      throw NonFiniteError(fmt::format(
          "'{}' holds NaN or infinity, so no checkpoint is saved; older ones stay", name));
}

}  // namespace

Resumption newest_checkpoint(const std::filesystem::path& folder) {
  Resumption resumption;
  for (const CheckpointFile& file : checkpoints_in(folder)) {
    try {
      verify_checkpoint(file.path);
      resumption.from = file;
      break;
    } catch (const DataError& error) {
      resumption.passed_over.emplace_back(error.what());
    }
  }
  return resumption;
}

Resumption resume(Trainer& trainer, const std::filesystem::path& folder) {
  const auto find = [&] {
    remove_temporaries(folder);
    const Resumption found = newest_checkpoint(folder);
    if (!found.from && !found.passed_over.empty())
      throw DataError(fmt::format("none of the checkpoints in {} is whole: {}", folder.string(),
                                  fmt::join(found.passed_over, "; ")));
    return packed(found);
  };
  Resumption found = unpacked(
      bytes_of_rank_zero(trainer.model().strategy().replicas(), {"checkpoint", "resume"}, find));
  if (found.from) load_checkpoint(trainer, found.from->path);
  return found;
}

Checkpoints::Checkpoints(CheckpointsOptions options) : options_(std::move(options)) {
  if (options_.save_every < 0 || options_.keep < 1)
    throw ArgumentError(fmt::format("checkpoints need save_every >= 0 and keep >= 1, got {} and {}",
                                    options_.save_every, options_.keep));
}

std::int64_t Checkpoints::meeting_interval() const noexcept { return options_.save_every; }

void Checkpoints::on_step_end(Trainer& trainer, const StepRecord&) {
  is_due_ = true;
  if (options_.save_every > 0 && trainer.num_steps() % options_.save_every == 0)
    save(trainer, std::nullopt);
}

void Checkpoints::on_epoch_end(Trainer& trainer, const EpochRecord& record) {
  std::optional<double> loss;
  if (record.validation && std::isfinite(record.validation->loss)) loss = record.validation->loss;
  const bool is_best = options_.keep_best && loss && (!best_loss_ || *loss < *best_loss_);
  if (is_best) best_loss_ = loss;
  if (options_.save_every == 0 || is_best) save(trainer, loss);
}

void Checkpoints::on_fit_end(Trainer& trainer, const History&) {
  if (is_due_) save(trainer, std::nullopt);
}

void Checkpoints::save(Trainer& trainer, std::optional<double> validation_loss) {
  const CheckpointOptions options{options_.names, validation_loss, options_.note};
  const std::int64_t num_steps = trainer.num_steps();
  check_replicas(trainer);  // rank 0 writes what is replicated
  try {
    save_content(trainer, options, [&](const TensorFile& content) {
      require_finite(content);
      make_folder(options_.folder);
      remove_temporaries(options_.folder);
      write_safetensors(path_of_checkpoint(options_.folder, num_steps), content);
      set_latest(options_.folder, num_steps);
      clear_up(options_.folder, num_steps, options_.keep, options_.keep_best);
    });
    is_due_ = false;
  } catch (const Error& error) {
    if (!options_.on_failure || !may_pass(error.code())) throw;
    if (trainer.model().strategy().rank() == 0) options_.on_failure(error.what());
  }
}

}  // namespace lockstep

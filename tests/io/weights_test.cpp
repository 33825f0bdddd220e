// Weights as files: names and layouts, what comes back, what is refused.

#include "lockstep/io/weights.hpp"

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/bytes.hpp"
#include "io/checkpoint_models.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/io/checkpoint.hpp"
#include "lockstep/io/safetensors.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/conv2d.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/model/merge_statistics.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/layers.hpp"
#include "support/mpi.hpp"
#include "support/shared_folder.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

std::vector<std::string> names_in(const TensorFile& file) {
  std::vector<std::string> names;
  for (const auto& entry : file.tensors) names.push_back(entry.first);
  return names;
}

// The file's content without what says that it is lockstep's.
void make_foreign(const std::filesystem::path& path, const std::string& without = "") {
  const TensorFile own = read_safetensors(path);
  nlohmann::json header = nlohmann::json::object();
  std::string data;
  for (const auto& [name, tensor] : own.tensors) {
    if (!without.empty() && name.find(without) != name.npos) continue;
    const auto bytes = bytes_of(TensorView(tensor));
    const std::size_t first = data.size();
    data.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    header[name] = {{"dtype", tensor.dtype() == DType::int64 ? "I64" : "F32"},
                    {"shape", std::vector(tensor.shape().begin(), tensor.shape().end())},
                    {"data_offsets", {first, data.size()}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = text.size();
  std::string content(sizeof length, '\0');
  std::memcpy(content.data(), &length, sizeof length);
  set_content(path, content.append(text).append(data));
}

}  // namespace

TEST_CASE("files have the names and layouts of PyTorch, or those of the variables", "[io]") {
  const SharedFolder folder(ranks());
  Training training({.renorm = false});
  save_weights(training.model, folder / "pytorch");
  save_weights(training.model, folder / "keras", WeightNames::keras);
  const TensorFile pytorch = read_safetensors(folder / "pytorch");
  const TensorFile keras = read_safetensors(folder / "keras");
  CHECK(names_in(pytorch) ==
        std::vector<std::string>{
            "batch_normalization.bias", "batch_normalization.num_batches_tracked",
            "batch_normalization.running_mean", "batch_normalization.running_var",
            "batch_normalization.weight", "batch_normalization_1.bias",
            "batch_normalization_1.num_batches_tracked", "batch_normalization_1.running_mean",
            "batch_normalization_1.running_var", "batch_normalization_1.weight", "conv2d.bias",
            "conv2d.weight", "dense.bias", "dense.weight", "dense_1.bias", "dense_1.weight"});
  CHECK(keras.tensors.contains("batch_normalization/moving_variance"));
  CHECK(pytorch.metadata.at("lockstep.names") == "pytorch");
  CHECK(keras.metadata.at("lockstep.names") == "keras");

  const Tensor& kernel = keras.tensors.at("conv2d/kernel");
  const Tensor& weight = pytorch.tensors.at("conv2d.weight");
  REQUIRE(kernel.shape() == Shape{3, 3, 2, 4});
  REQUIRE(weight.shape() == Shape{4, 2, 3, 3});
  for (int h = 0; h < 3; ++h)
    for (int w = 0; w < 3; ++w)
      for (int i = 0; i < 2; ++i)
        for (int o = 0; o < 4; ++o) {
          const auto there = static_cast<std::size_t>(((o * 2 + i) * 3 + h) * 3 + w);
          const auto here = static_cast<std::size_t>(((h * 3 + w) * 2 + i) * 4 + o);
          CHECK(weight.values<float>()[there] == kernel.values<float>()[here]);
        }
  CHECK(pytorch.tensors.at("dense.weight").values<float>()[1] ==
        keras.tensors.at("dense/kernel").values<float>()[6]);
}

TEST_CASE("weights that were saved give the same outputs, by any names and from a checkpoint",
          "[io]") {
  const SharedFolder folder(ranks());
  for (const TrainingOptions& options : {TrainingOptions{}, TrainingOptions{.synchronized = false},
                                         TrainingOptions{.renorm = false, .zero_debias = true}}) {
    Training training(options);
    training.run(4);
    save_weights(training.model, folder / "pytorch");
    save_weights(training.model, folder / "keras", WeightNames::keras);
    save_checkpoint(*training.trainer, folder / "checkpoint");
    merge_statistics(training.model);
    const Tensor expected = training.trainer->predict(few_images());
    for (const std::string name : {"pytorch", "keras", "checkpoint"}) {
      Training other(options);
      other.run(2);
      load_weights(other.model, folder / name);
      const bool is_same = is_identical(other.trainer->predict(few_images()), expected);
      REQUIRE_ON_ALL_RANKS(ranks(), is_same);
      // The center of the next sums is where the data are.
      Layer& layer = other.model.layer("batch_normalization");
      const bool is_centered = is_identical(Tensor::copy_of(layer.variable("shift").value()),
                                            Tensor::copy_of(layer.variable("moving_mean").value()));
      REQUIRE_ON_ALL_RANKS(ranks(), is_centered);
      other.run(4);  // goes on
    }
  }
}

TEST_CASE("files of others are loaded, with or without counts of updates", "[io]") {
  const SharedFolder folder(ranks());
  Training training({.renorm = false});
  training.run(4);
  const Tensor expected = training.trainer->predict(few_images());
  for (const WeightNames names : {WeightNames::pytorch, WeightNames::keras})
    for (const std::string without : {"", "num_"}) {
      save_weights(training.model, folder / "file", names);
      folder.on_rank_zero([&] { make_foreign(folder / "file", without); });
      Training other({.renorm = false});
      load_weights(other.model, folder / "file", names);
      const bool is_same = is_identical(other.trainer->predict(few_images()), expected);
      REQUIRE_ON_ALL_RANKS(ranks(), is_same);
    }
}

TEST_CASE("what does not fit is named at once, and nothing is loaded", "[io]") {
  const SharedFolder folder(ranks());
  Training training({.renorm = false});
  save_weights(training.model, folder / "file");
  Sequential other(Strategy{Communicator::world()});
  other.add(Dense({.units = 4, .name = "dense_1"}));
  other.add(Dense({.units = 9, .dtype = DType::float32, .name = "dense"}));
  other.add(Dense({.units = 2}));
  other.build({1, 6});
  const auto before = Tensor::copy_of(other.variable("dense_1/kernel").value());
  const Caught caught = caught_from([&] { load_weights(other, folder / "file"); });
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(ranks(), caught.is(ErrorCode::data));
  REQUIRE_ON_ALL_RANKS(ranks(), is_same_on_all_ranks(ranks(), caught));
  for (const std::string part :
       {"missing: dense_2.weight, dense_2.bias", "unexpected: batch_normalization.bias",
        "'dense.weight' is float32 [6, 144], expected float32 [9, 4]",
        "'dense.bias' is float32 [6], expected float32 [9]"})
    REQUIRE_ON_ALL_RANKS(ranks(), caught.what.find(part) != std::string::npos);
  const bool is_unchanged =
      is_identical(before, Tensor::copy_of(other.variable("dense_1/kernel").value()));
  REQUIRE_ON_ALL_RANKS(ranks(), is_unchanged);
}

TEST_CASE("two variables of one name in the file are refused", "[io]") {
  const SharedFolder folder(ranks());
  Sequential model(Strategy{Communicator::world()});
  model.add(Dense({.units = 4, .name = "a.b"}));
  model.add(Dense({.units = 4, .name = "a"}));
  model.build({1, 4});
  REQUIRE_NOTHROW(save_weights(model, folder / "file"));
  Sequential clash(Strategy{Communicator::world()});
  clash.add(Dense({.units = 4, .normalizer = BatchNormalizationOptions{.name = "x"}, .name = "a"}));
  clash.add(Dense({.units = 4, .name = "a.x"}));
  clash.build({1, 4});
  const Caught caught = caught_from([&] { save_weights(clash, folder / "other"); });
  REQUIRE_ON_ALL_RANKS(ranks(), caught.is(ErrorCode::argument));
  REQUIRE_ON_ALL_RANKS(ranks(), is_same_on_all_ranks(ranks(), caught));
  REQUIRE_NOTHROW(save_weights(clash, folder / "other", WeightNames::keras));
}

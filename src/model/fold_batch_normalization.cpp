#include "lockstep/model/fold_batch_normalization.hpp"

#include <spdlog/fmt/fmt.h>

#include <iterator>
#include <optional>
#include <typeinfo>
#include <utility>

#include "layers/present_options.hpp"
#include "lockstep/layers/residual.hpp"
#include "model/folded_part.hpp"
#include "model/normalizations.hpp"
#include "params/variable_place.hpp"

namespace lockstep {
namespace {

// Layers that are made meanwhile belong to no scope and no store.
class OutsideOfScopes {
 public:
  OutsideOfScopes() : before_(std::exchange(current_place(), {})) {}
  ~OutsideOfScopes() { current_place() = std::move(before_); }
  OutsideOfScopes(const OutsideOfScopes&) = delete;
  OutsideOfScopes& operator=(const OutsideOfScopes&) = delete;

 private:
  VariablePlace before_;
};

// Goes through layers and notes what becomes of their normalizations.
class Folding {
 public:
  explicit Folding(FoldedModel& result) : result_(result) {}

  // Of layers one after another; `shape` is that of their input.
  template <class Layers>
  [[nodiscard]] std::vector<FoldedPart> parts_of(const Layers& layers, Shape shape) {
    std::vector<FoldedPart> parts;
    for (const auto& layer : layers) {
      add(*layer, shape, parts);
      shape = layer->output_shape(shape);
    }
    return parts;
  }

 private:
  void add(Layer& layer, const Shape& shape, std::vector<FoldedPart>& parts) {
    if (const auto* normalization = dynamic_cast<const BatchNormalization*>(&layer)) {
      if (!note(*normalization, fold(*normalization, shape, parts))) return;
    } else if (auto product = part_before_normalizer(layer)) {
      const auto& normalizer = dynamic_cast<const BatchNormalization&>(*layer.inner_layers()[0]);
      parts.push_back(std::move(*product));
      if (!note(normalizer, fold(normalizer, layer.output_shape(shape), parts))) return;
      parts.pop_back();
    } else if (typeid(layer) == typeid(Residual)) {
      parts.push_back(part_of_block(static_cast<const Residual&>(layer), shape));
      return;
    } else {
      for (const BatchNormalization* inner : normalizations_in(layer))
        note(*inner, fmt::format("it is inside of layer '{}'", layer.name()));
    }
    parts.push_back(part_of(layer));
  }

  FoldedPart part_of_block(const Residual& layer, const Shape& shape) {
    ResidualOptions options = present_options_of(layer);
    options.name = layer.name();
    auto block = std::make_unique<Residual>(std::move(options));
    block->set_mode(layer.mode());
    FoldedPart part;
    // The order of the layers inside.
    part.inner = parts_of(layer.shortcut_layers(), shape);
    for (FoldedPart& inner : part.inner) block->add_shortcut(std::move(inner.layer));
    std::vector<FoldedPart> main = parts_of(layer.main_layers(), shape);
    for (FoldedPart& inner : main) block->add_main(std::move(inner.layer));
    std::ranges::move(main, std::back_inserter(part.inner));
    part.layer = std::move(block);
    return part;
  }

  // True for a normalization that must be kept.
  bool note(const BatchNormalization& normalization, const std::optional<std::string>& obstacle) {
    if (obstacle)
      result_.kept.push_back({normalization.name(), *obstacle});
    else
      result_.folded.push_back(normalization.name());
    return obstacle.has_value();
  }

  FoldedModel& result_;
};

}  // namespace

FoldedModel fold_batch_normalization(Sequential& model) {
  static_cast<void>(model.variables());  // there are some from now on
  const OutsideOfScopes outside;
  const SequentialOptions options{
      .dtype = model.dtype(), .seed = model.seed(), .name = model.name()};
  FoldedModel result{Sequential(options, model.strategy()), {}, {}};
  const Shape input_shape = model.sample_shape()->prepended(1);
  std::vector<FoldedPart> parts = Folding(result).parts_of(model.layers(), input_shape);
  for (FoldedPart& part : parts) result.model.add(std::move(part.layer));
  result.model.create(input_shape);
  for (std::size_t i = 0; i < parts.size(); ++i) assign(parts[i], *result.model.layers()[i]);
  return result;
}

}  // namespace lockstep

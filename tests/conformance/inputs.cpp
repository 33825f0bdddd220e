#include "conformance/inputs.hpp"

#include "conformance/tensors.hpp"

namespace lockstep::conformance {
namespace {

// One value for all of an input.
Tensor constant(double value, const Shape& input, DType dtype) {
  Shape shape = input;
  for (int axis = 0; axis < shape.rank(); ++axis) shape = shape.with(axis, 1);
  return tensor_of({shape, {value}}, dtype);
}

// The shape with axes of extent 1 in front, until it has the rank of the input.
Shape aligned(Shape shape, const Shape& input) {
  while (shape.rank() < input.rank()) shape = shape.prepended(1);
  return shape;
}

}  // namespace

Array local_part_of(const StoredArray& array, const Shape& input, const Cut& cut,
                    const Communicator& world) {
  Array whole = array.load();
  const bool is_cut =
      cut.is_shared && cut.axis < whole.shape.rank() && whole.shape[cut.axis] == input[cut.axis];
  if (!is_cut) return whole;
  return slice(whole, cut.axis, part_of(cut, input[cut.axis], world.rank(), world.size()));
}

Inputs inputs_of(const Step& step, const Cut& cut, const Communicator& world, DType dtype,
                 DType precision) {
  const Shape& whole = step.inputs.at("x").shape;
  const auto tensor = [&](const char* name, DType type) {
    const auto input = step.inputs.find(name);
    if (input == step.inputs.end()) return Tensor();
    return tensor_of(local_part_of(input->second, whole, cut, world), type);
  };
  const auto adjustment = [&](const char* name, double neutral) {
    const auto input = step.inputs.find(name);
    if (input == step.inputs.end()) return constant(neutral, whole, precision);
    StoredArray array = input->second;
    array.shape = aligned(array.shape, whole);
    return tensor_of(local_part_of(array, whole, cut, world), precision);
  };
  return {tensor("x", dtype), tensor("dy", dtype), tensor("mask", DType::boolean),
          tensor("batch_weights", precision),
          Adjustment{adjustment("adj_scale", 1.0), adjustment("adj_bias", 0.0)}};
}

}  // namespace lockstep::conformance

// The fields of what options hold, by their public names.

#pragma once

#include <concepts>
#include <type_traits>

#include "lockstep/layers/batch_normalization_options.hpp"
#include "lockstep/layers/scope_options.hpp"
#include "lockstep/parallel/synchronization_group.hpp"
#include "lockstep/params/constraint.hpp"
#include "lockstep/params/initializer.hpp"
#include "lockstep/params/regularizer.hpp"

namespace lockstep {

/// A T that may be const, so that one list serves reading and writing.
template <class Value, class T>
concept Of = std::same_as<std::remove_const_t<Value>, T>;

// for_each_field(value, field) calls field("name", value.name) for every field of an aggregate.

template <class Value>
requires std::is_empty_v<Value>
void for_each_field(Value&, auto&&) {}

void for_each_field(Of<Constant> auto& value, auto&& field) { field("value", value.value); }

void for_each_field(Of<RandomNormal> auto& value, auto&& field) {
  field("mean", value.mean);
  field("stddev", value.stddev);
  field("seed", value.seed);
}

void for_each_field(Of<RandomUniform> auto& value, auto&& field) {
  field("minimum", value.minimum);
  field("maximum", value.maximum);
  field("seed", value.seed);
}

void for_each_field(Of<TruncatedNormal> auto& value, auto&& field) {
  field("mean", value.mean);
  field("stddev", value.stddev);
  field("seed", value.seed);
}

void for_each_field(Of<VarianceScaling> auto& value, auto&& field) {
  field("scale", value.scale);
  field("fan", value.fan);
  field("distribution", value.distribution);
  field("seed", value.seed);
}

void for_each_field(Of<L1L2> auto& value, auto&& field) {
  field("l1", value.l1);
  field("l2", value.l2);
}

void for_each_field(Of<MaxNorm> auto& value, auto&& field) {
  field("max_value", value.max_value);
  field("axes", value.axes);
}

void for_each_field(Of<UnitNorm> auto& value, auto&& field) { field("axes", value.axes); }

void for_each_field(Of<MinMaxNorm> auto& value, auto&& field) {
  field("min_value", value.min_value);
  field("max_value", value.max_value);
  field("rate", value.rate);
  field("axes", value.axes);
}

void for_each_field(Of<BySize> auto& value, auto&& field) { field("size", value.size); }

void for_each_field(Of<RenormClipping> auto& value, auto&& field) {
  field("rmin", value.rmin);
  field("rmax", value.rmax);
  field("dmax", value.dmax);
}

void for_each_field(Of<ScopeOptions> auto& value, auto&& field) {
  field("name", value.name);
  field("default_name", value.default_name);
  field("reuse", value.reuse);
  field("variables_collections", value.variables_collections);
  field("outputs_collections", value.outputs_collections);
  field("updates_collections", value.updates_collections);
}

}  // namespace lockstep

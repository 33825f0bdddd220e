// The fields of the options of all layers, by their public names. An option that is added to a
// struct needs a line here, and with it takes part in configurations and in what ranks compare.

#pragma once

#include "layers/value_fields.hpp"
#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/batch_normalization_options.hpp"
#include "lockstep/layers/conv2d.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/dropout.hpp"
#include "lockstep/layers/flatten.hpp"
#include "lockstep/layers/global_average_pool.hpp"
#include "lockstep/layers/pool2d.hpp"
#include "lockstep/layers/residual.hpp"
#include "lockstep/layers/softmax.hpp"

namespace lockstep {

/// What the options of every layer end with.
void for_each_common_field(auto& options, auto&& field) {
  field("dtype", options.dtype);
  field("name", options.name);
  field("input_shape", options.input_shape);
}

void for_each_field(Of<ActivationOptions> auto& options, auto&& field) {
  field("function", options.function);
  field("negative_slope", options.negative_slope);
  for_each_common_field(options, field);
}

void for_each_field(Of<Conv2DOptions> auto& options, auto&& field) {
  field("filters", options.filters);
  field("kernel_size", options.kernel_size);
  field("strides", options.strides);
  field("padding", options.padding);
  field("data_format", options.data_format);
  field("use_bias", options.use_bias);
  field("kernel_initializer", options.kernel_initializer);
  field("bias_initializer", options.bias_initializer);
  field("kernel_regularizer", options.kernel_regularizer);
  field("bias_regularizer", options.bias_regularizer);
  field("kernel_constraint", options.kernel_constraint);
  field("bias_constraint", options.bias_constraint);
  field("normalizer", options.normalizer);
  field("trainable", options.trainable);
  field("scope", options.scope);
  for_each_common_field(options, field);
}

void for_each_field(Of<DenseOptions> auto& options, auto&& field) {
  field("units", options.units);
  field("activation", options.activation);
  field("use_bias", options.use_bias);
  field("kernel_initializer", options.kernel_initializer);
  field("bias_initializer", options.bias_initializer);
  field("kernel_regularizer", options.kernel_regularizer);
  field("bias_regularizer", options.bias_regularizer);
  field("kernel_constraint", options.kernel_constraint);
  field("bias_constraint", options.bias_constraint);
  field("normalizer", options.normalizer);
  field("trainable", options.trainable);
  field("scope", options.scope);
  for_each_common_field(options, field);
}

void for_each_field(Of<DropoutOptions> auto& options, auto&& field) {
  field("rate", options.rate);
  field("seed", options.seed);
  for_each_common_field(options, field);
}

void for_each_field(Of<FlattenOptions> auto& options, auto&& field) {
  for_each_common_field(options, field);
}

void for_each_field(Of<GlobalAveragePoolOptions> auto& options, auto&& field) {
  field("data_format", options.data_format);
  for_each_common_field(options, field);
}

void for_each_field(Of<Pool2DOptions> auto& options, auto&& field) {
  field("pool_size", options.pool_size);
  field("strides", options.strides);
  field("padding", options.padding);
  field("data_format", options.data_format);
  for_each_common_field(options, field);
}

void for_each_field(Of<ResidualOptions> auto& options, auto&& field) {
  field("activation", options.activation);
  field("negative_slope", options.negative_slope);
  field("trainable", options.trainable);
  for_each_common_field(options, field);
}

void for_each_field(Of<SoftmaxOptions> auto& options, auto&& field) {
  field("axis", options.axis);
  for_each_common_field(options, field);
}

void for_each_field(Of<BatchNormalizationOptions> auto& options, auto&& field) {
  field("axis", options.axis);
  field("momentum", options.momentum);
  field("epsilon", options.epsilon);
  field("center", options.center);
  field("scale", options.scale);
  field("beta_initializer", options.beta_initializer);
  field("gamma_initializer", options.gamma_initializer);
  field("moving_mean_initializer", options.moving_mean_initializer);
  field("moving_variance_initializer", options.moving_variance_initializer);
  field("beta_regularizer", options.beta_regularizer);
  field("gamma_regularizer", options.gamma_regularizer);
  field("beta_constraint", options.beta_constraint);
  field("gamma_constraint", options.gamma_constraint);
  field("renorm", options.renorm);
  field("renorm_clipping", options.renorm_clipping);
  field("renorm_momentum", options.renorm_momentum);
  field("fused", options.fused);
  field("fused_rules", options.fused_rules);
  field("virtual_batch_size", options.virtual_batch_size);
  field("ghost_grouping", options.ghost_grouping);
  field("adjustment", options.adjustment);
  field("adjustment_differs_by_rank", options.adjustment_differs_by_rank);
  field("activation", options.activation);
  field("negative_slope", options.negative_slope);
  field("moving_variance", options.moving_variance);
  field("zero_debias_moving_mean", options.zero_debias_moving_mean);
  field("track_moving_statistics", options.track_moving_statistics);
  field("updates", options.updates);
  field("strict", options.strict);
  field("nonfinite", options.nonfinite);
  field("statistics", options.statistics);
  field("channel_group_bytes", options.channel_group_bytes);
  field("mode", options.mode);
  field("trainable", options.trainable);
  field("frozen_mode", options.frozen_mode);
  field("synchronized", options.synchronized);
  field("synchronization_group", options.synchronization_group);
  field("data_format", options.data_format);
  field("scope", options.scope);
  field("refusal", options.refusal);
  for_each_common_field(options, field);
}

}  // namespace lockstep

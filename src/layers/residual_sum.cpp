#include "layers/residual_sum.hpp"

#include "base/visit_dtype.hpp"
#include "kernels/normalization.hpp"

namespace lockstep {
namespace {

// The sum is that of a batch normalization of one channel which leaves its input as it is.
constexpr double zero = 0.0;
constexpr double one = 1.0;
constexpr AffineView identity{&zero, &one, &zero};

ColumnLayout one_column_of(const TensorView& values) {
  ColumnLayout layout;
  layout.num_columns = 1;
  layout.append(values.num_elements(), 0);
  return layout;
}

template <class T>
NormalizationBatch<T> batch_of(const TensorView& a, const TensorView& b,
                               const AnyActivation& activation, double negative_slope,
                               const ColumnLayout& layout) {
  return {.x = a.values<T>().data(),
          .residual = b.values<T>().data(),
          .layout = layout,
          .activation = activation,
          .negative_slope = negative_slope};
}

}  // namespace

void add(const TensorView& a, const TensorView& b, const AnyActivation& activation,
         double negative_slope, const MutableTensorView& y) {
  const ColumnLayout layout = one_column_of(a);
  visit_floating(a.dtype(), [&]<class T>(TypeTag<T>) {
    apply_normalization(batch_of<T>(a, b, activation, negative_slope, layout), identity,
                        y.values<T>().data());
  });
}

void add_to(const MutableTensorView& target, const TensorView& values) {
  add(target, values, ActivationFunction::linear, 0.0, target);
}

void add_back(const TensorView& a, const TensorView& b, const AnyActivation& activation,
              double negative_slope, const TensorView& y_gradient,
              const MutableTensorView& gradient) {
  const ColumnLayout layout = one_column_of(a);
  visit_floating(a.dtype(), [&]<class T>(TypeTag<T>) {
    apply_input_gradient(batch_of<T>(a, b, activation, negative_slope, layout), identity, {},
                         y_gradient.values<T>().data(), static_cast<T*>(nullptr),
                         gradient.values<T>().data());
  });
}

}  // namespace lockstep

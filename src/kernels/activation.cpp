#include "kernels/activation.hpp"

#include <algorithm>
#include <functional>

namespace lockstep {

template <class T>
void activate(ActivationFunction function, double negative_slope, const T* input, T* output,
              std::int64_t num_elements) {
  visit_activation<T>(function, negative_slope, [&](auto activation) {
    for (std::int64_t i = 0; i < num_elements; ++i) output[i] = activation.value(input[i]);
  });
}

template <class T>
void activation_gradient(ActivationFunction function, double negative_slope, const T* input,
                         const T* output_gradient, T* input_gradient, std::int64_t num_elements) {
  visit_activation<T>(function, negative_slope, [&](auto activation) {
    for (std::int64_t i = 0; i < num_elements; ++i)
      input_gradient[i] = output_gradient[i] * activation.derivative(input[i]);
  });
}

void activate(const AnyActivation& activation, double negative_slope, const double* input,
              double* output, std::int64_t num_elements) {
  if (const auto* custom = std::get_if<CustomActivation>(&activation))
    std::transform(input, input + num_elements, output, std::cref(custom->value));
  else
    activate(std::get<ActivationFunction>(activation), negative_slope, input, output, num_elements);
}

void activation_gradient(const AnyActivation& activation, double negative_slope,
                         const double* input, const double* output_gradient, double* input_gradient,
                         std::int64_t num_elements) {
  if (const auto* custom = std::get_if<CustomActivation>(&activation))
    std::transform(input, input + num_elements, output_gradient, input_gradient,
                   [&](double x, double gradient) { return gradient * custom->derivative(x); });
  else
    activation_gradient(std::get<ActivationFunction>(activation), negative_slope, input,
                        output_gradient, input_gradient, num_elements);
}

template void activate(ActivationFunction, double, const float*, float*, std::int64_t);
template void activate(ActivationFunction, double, const double*, double*, std::int64_t);
template void activation_gradient(ActivationFunction, double, const float*, const float*, float*,
                                  std::int64_t);
template void activation_gradient(ActivationFunction, double, const double*, const double*, double*,
                                  std::int64_t);

}  // namespace lockstep

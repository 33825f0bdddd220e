#include "kernels/activation.hpp"

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

template void activate(ActivationFunction, double, const float*, float*, std::int64_t);
template void activate(ActivationFunction, double, const double*, double*, std::int64_t);
template void activation_gradient(ActivationFunction, double, const float*, const float*, float*,
                                  std::int64_t);
template void activation_gradient(ActivationFunction, double, const double*, const double*, double*,
                                  std::int64_t);

}  // namespace lockstep

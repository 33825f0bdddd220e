#include "lockstep/kernels/activation_function.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/activation.hpp"
#include "lockstep/base/error.hpp"
#include "support/catch.hpp"

using namespace lockstep;

namespace {

using Function = ActivationFunction;

constexpr std::array functions{Function::linear,     Function::relu, Function::relu6,
                               Function::leaky_relu, Function::elu,  Function::sigmoid,
                               Function::tanh,       Function::gelu, Function::silu};

template <class T>
T value_of(Function function, T x) {
  T y = 0;
  activate<T>(function, default_negative_slope, &x, &y, 1);
  return y;
}

template <class T>
T derivative_of(Function function, T x) {
  const T dy = 1;
  T dx = 0;
  activation_gradient<T>(function, default_negative_slope, &x, &dy, &dx, 1);
  return dx;
}

template <class T>
void check_extremes(Function function) {
  CAPTURE(name_of(function));
  const T largest = std::numeric_limits<T>::max();
  for (const T x : {T(0), T(1000), T(-1000), largest, -largest}) {
    CAPTURE(x);
    CHECK(std::isfinite(value_of(function, x)));
    CHECK(std::isfinite(derivative_of(function, x)));
  }
  CHECK(std::isnan(value_of(function, std::numeric_limits<T>::quiet_NaN())));
}

struct Sample {
  Function function;
  double x;
  double value;
  double derivative;
};

}  // namespace

TEST_CASE("every activation function has a name that leads back to it") {
  for (const Function function : functions)
    CHECK(activation_function_of(name_of(function)) == function);
}

TEST_CASE("an unknown name is refused with the known ones") {
  try {
    (void)activation_function_of("Relu");
    FAIL("no error");
  } catch (const ArgumentError& error) {
    const std::string message = error.what();
    CHECK(message.find("'Relu'") != std::string::npos);
    for (const Function function : functions)
      CHECK(message.find(name_of(function)) != std::string::npos);
  }
}

TEST_CASE("activation functions are finite for finite input and NaN for NaN") {
  for (const Function function : functions) {
    check_extremes<float>(function);
    check_extremes<double>(function);
  }
}

TEST_CASE("activation functions take the values computed with 40 digits") {
  const std::vector<Sample> samples{
      {Function::linear, -2.0, -2.0, 1.0},
      {Function::relu, -2.0, 0.0, 0.0},
      {Function::relu, 0.0, 0.0, 0.0},
      {Function::relu, 7.0, 7.0, 1.0},
      {Function::relu6, -2.0, 0.0, 0.0},
      {Function::relu6, 5.0, 5.0, 1.0},
      {Function::relu6, 6.0, 6.0, 0.0},
      {Function::relu6, 7.0, 6.0, 0.0},
      {Function::leaky_relu, -2.0, -0.4, 0.2},
      {Function::leaky_relu, 0.0, 0.0, 0.2},
      {Function::leaky_relu, 3.0, 3.0, 1.0},
      {Function::elu, -3.0, -0.950212931632136057, 0.049787068367863943},
      {Function::elu, -0.25, -0.221199216928595132, 0.778800783071404868},
      {Function::elu, 0.5, 0.5, 1.0},
      {Function::elu, 4.0, 4.0, 1.0},
      {Function::sigmoid, -3.0, 0.0474258731775667809, 0.0451766597309121326},
      {Function::sigmoid, -0.25, 0.437823499114201896, 0.246134082737598348},
      {Function::sigmoid, 0.5, 0.622459331201854565, 0.235003712201594489},
      {Function::sigmoid, 4.0, 0.982013790037908442, 0.0176627062132911164},
      {Function::tanh, -3.0, -0.995054753686730451, 0.00986603716544019127},
      {Function::tanh, -0.25, -0.244918662403709129, 0.940014848806377956},
      {Function::tanh, 0.5, 0.462117157260009759, 0.78644773296592741},
      {Function::tanh, 4.0, 0.999329299739067044, 0.00134095068302589688},
      {Function::gelu, -3.0, -0.00404969409489028358, -0.011945647204183927},
      {Function::gelu, -0.25, -0.100323418579269069, 0.304626645116363974},
      {Function::gelu, 0.5, 0.345731230637006552, 0.867495124656162843},
      {Function::gelu, 4.0, 3.99987331503266752, 1.00050364966122642},
      {Function::silu, -3.0, -0.142277619532700343, -0.0881041060151696171},
      {Function::silu, -0.25, -0.109455874778550474, 0.376289978429802309},
      {Function::silu, 0.5, 0.311229665600927282, 0.739961187302651809},
      {Function::silu, 4.0, 3.92805516015163377, 1.05266461489107291},
  };
  for (const Sample& sample : samples) {
    CAPTURE(name_of(sample.function), sample.x);
    const double bound = 16.0 * std::numeric_limits<double>::epsilon();
    CHECK(std::abs(value_of(sample.function, sample.x) - sample.value) <=
          bound * std::abs(sample.value));
    CHECK(std::abs(derivative_of(sample.function, sample.x) - sample.derivative) <=
          bound * std::abs(sample.derivative));
  }
}

TEST_CASE("activations work in place") {
  const std::vector<double> x{-1.5, -0.5, 0.5, 1.5};
  for (const Function function : functions) {
    std::vector<double> y(x.size());
    std::vector<double> dx(x.size());
    activate<double>(function, 0.3, x.data(), y.data(), 4);
    activation_gradient<double>(function, 0.3, x.data(), y.data(), dx.data(), 4);
    std::vector<double> in_place = x;
    activate<double>(function, 0.3, in_place.data(), in_place.data(), 4);
    CHECK(in_place == y);
    activation_gradient<double>(function, 0.3, x.data(), in_place.data(), in_place.data(), 4);
    CHECK(in_place == dx);
  }
}

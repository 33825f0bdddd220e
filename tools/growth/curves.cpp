// Draws what the simulations found: time of a step's merges against the logarithm of the ranks.
//
//   curves RESULTS FIGURE
//
// A line of RESULTS: Gb/s of the links, then what simulation.cpp prints.

#include <cmath>
#include <exception>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "lockstep/io/curves.hpp"

namespace {

using lockstep::Curve;

void add_point(std::vector<Curve>& curves, const std::string& label, const std::string& panel,
               double x, double y) {
  for (Curve& curve : curves)
    if (curve.label == label && curve.panel == panel) {
      curve.x.push_back(x);
      curve.y.push_back(y);
      return;
    }
  curves.push_back({label, {x}, {y}, panel});
}

std::vector<Curve> read_curves(const std::string& path) {
  std::vector<Curve> curves;
  std::ifstream results(path);
  std::string gigabits;
  double num_ranks = 0.0, packed = 0.0, separate = 0.0, num_packed = 0.0, num_separate = 0.0;
  while (results >> gigabits >> num_ranks >> packed >> num_packed >> separate >> num_separate) {
    const std::string panel = gigabits + " Gb/s: merges of a step in ms";
    add_point(curves, "one message per layer", panel, std::log2(num_ranks), 1e3 * packed);
    add_point(curves, "one per quantity", panel, std::log2(num_ranks), 1e3 * separate);
  }
  if (curves.empty() || !results.eof()) throw std::runtime_error(path + " holds no results");
  return curves;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) throw std::runtime_error("usage: curves RESULTS FIGURE");
  lockstep::write_curves(argv[2], read_curves(argv[1]), "log2 of the number of ranks");
  return 0;
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << '\n';
  return 1;
}

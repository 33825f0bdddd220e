// A library with names that lockstep must not show: its own by accident, and those of templates of
// the standard library that were instantiated with its types.

#include <vector>

namespace lockstep {
struct Leak {
  Leak() {}
  int value = 0;
};
}  // namespace lockstep

int leaked() { return 0; }

template class std::vector<lockstep::Leak>;

// Models whose ranks have learned statistics apart, made one.

#pragma once

#include "lockstep/base/export.hpp"
#include "lockstep/model/sequential.hpp"

namespace lockstep {

/// Makes the moving statistics of all layers equal on all ranks, where groups of ranks have learned
/// them apart; see BatchNormalization::merge_statistics(). To be called before such layers are
/// exported, folded or used for inference by anything but a trainer. Throws StateError before
/// build(); errors name the layer, and when a later layer fails the ones before it are merged.
/// Collective.
LOCKSTEP_EXPORT void merge_statistics(Sequential& model);

}  // namespace lockstep

// All of lockstep but lockstep/comm/mpi.hpp, which needs MPI.

#pragma once

#include "lockstep/base/dtype.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/base/export.hpp"
#include "lockstep/base/shape.hpp"
#include "lockstep/base/tensor.hpp"
#include "lockstep/base/tensor_view.hpp"
#include "lockstep/base/version.hpp"
#include "lockstep/comm/collectives.hpp"
#include "lockstep/comm/communicator.hpp"
#include "lockstep/comm/environment.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/layer.hpp"
#include "lockstep/parallel/strategy.hpp"
#include "lockstep/params/initializer.hpp"
#include "lockstep/params/variable.hpp"

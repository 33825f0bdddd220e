// MPI_Iallreduce that is about as fast as MPI_Allreduce.

#pragma once

#include <mpi.h>

namespace lockstep {

/// MPI_Iallreduce. Open MPI 4 would take another algorithm than for MPI_Allreduce, a reduction and
/// a broadcast; here it takes recursive doubling for short messages and a reduce-scatter with an
/// allgather (Rabenseifner) for long ones, unless the user has set
/// `coll_libnbc_iallreduce_algorithm`. The parameter is changed while the call is started only.
int start_allreduce(const void* send, void* receive, int count, MPI_Datatype type, MPI_Op operation,
                    MPI_Comm communicator, MPI_Request* request);

}  // namespace lockstep

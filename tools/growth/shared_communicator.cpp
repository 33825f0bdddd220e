// Lets all layers of the simulation share one communicator, in place of MPI's own two calls, and
// every rank send messages: SMPI takes the thread of the first one for that of all.
//
// SMPI makes a duplicate by one message after the other, which takes longer to simulate than all
// merges of a step. Merges here are blocking and in the same order on all ranks, so that messages
// of one layer cannot meet those of another.

#include <mpi.h>

extern "C" {

int __wrap_MPI_Comm_dup(MPI_Comm communicator, MPI_Comm* duplicate);
int __wrap_MPI_Comm_free(MPI_Comm* communicator);
int __wrap_MPI_Is_thread_main(int* flag);

int __wrap_MPI_Is_thread_main(int* flag) {
  *flag = 1;
  return MPI_SUCCESS;
}

int __wrap_MPI_Comm_dup(MPI_Comm communicator, MPI_Comm* duplicate) {
  *duplicate = communicator;
  return MPI_SUCCESS;
}

int __wrap_MPI_Comm_free(MPI_Comm* communicator) {
  *communicator = MPI_COMM_NULL;
  return MPI_SUCCESS;
}
}

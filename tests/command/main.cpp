// Runs the tests of the command. No MPI here: mpirun does not start from within an MPI job.

#define CATCH_CONFIG_RUNNER
#include "support/catch.hpp"

int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }

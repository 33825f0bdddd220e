# The packages that lockstep stands on; README says what each is for.
set(MPI_CXX_SKIP_MPICXX ON)  # the C++ bindings that MPI-3 removed
find_package(MPI REQUIRED COMPONENTS CXX)
find_package(Eigen3 3.4 REQUIRED NO_MODULE)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(hwy 1.0.3 REQUIRED)
if(LOCKSTEP_BUILD_TOOLS OR LOCKSTEP_BUILD_TESTS)
  find_package(CLI11 REQUIRED)
endif()
if(LOCKSTEP_BUILD_TESTS)
  find_package(Catch2 REQUIRED)
endif()

# The packages that lockstep stands on; README says what each is for.
set(MPI_CXX_SKIP_MPICXX ON)  # the C++ bindings that MPI-3 removed
find_package(MPI REQUIRED COMPONENTS CXX)
find_package(Eigen3 3.4 REQUIRED NO_MODULE)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
if(LOCKSTEP_ONEDNN)
  # Its CMake package asks for OpenCL, which the CPU does not need. The OpenMP is the one it uses.
  find_path(LOCKSTEP_ONEDNN_INCLUDE_DIR dnnl.hpp)
  find_library(LOCKSTEP_ONEDNN_LIBRARY dnnl)
  if(NOT LOCKSTEP_ONEDNN_INCLUDE_DIR OR NOT LOCKSTEP_ONEDNN_LIBRARY)
    message(FATAL_ERROR "oneDNN is missing. Install it (Debian: apt-get install libdnnl-dev), or "
      "configure with -D LOCKSTEP_ONEDNN=OFF: float32 products and convolutions are slower then.")
  endif()
  add_library(lockstep_onednn INTERFACE)
  target_include_directories(lockstep_onednn SYSTEM INTERFACE ${LOCKSTEP_ONEDNN_INCLUDE_DIR})
  target_link_libraries(lockstep_onednn INTERFACE ${LOCKSTEP_ONEDNN_LIBRARY} gomp)
endif()
if(LOCKSTEP_BUILD_TOOLS OR LOCKSTEP_BUILD_TESTS)
  find_package(CLI11 REQUIRED)
endif()
if(LOCKSTEP_BUILD_TESTS)
  find_package(Catch2 REQUIRED)
endif()

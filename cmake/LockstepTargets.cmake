# Compiler settings shared by every target of the project.
add_library(lockstep_settings INTERFACE)
target_compile_features(lockstep_settings INTERFACE cxx_std_20)
# No contraction: the same sources must give the same bits with every compiler and instruction set.
target_compile_options(lockstep_settings INTERFACE -ffp-contract=off)

set(LOCKSTEP_SANITIZE "" CACHE STRING "Sanitizers to build with, such as address,undefined")
if(LOCKSTEP_SANITIZE)
  add_compile_options(-fsanitize=${LOCKSTEP_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${LOCKSTEP_SANITIZE})
  # GCC's manual: sanitizers make this warning wrong, here within std::regex, which Catch2 uses.
  add_compile_options($<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
endif()

# Installed programs find the library beside them, and the library finds an MPI of its own place.
include(GNUInstallDirs)
set(CMAKE_INSTALL_RPATH $ORIGIN/../${CMAKE_INSTALL_LIBDIR})
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)

# Where tests/fuzz/ is built: modules with readers tell the fuzzer which way they went.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND LOCKSTEP_SANITIZE MATCHES "address")
  set(LOCKSTEP_FUZZED_MODULES io layers model)
endif()

# lockstep_module(NAME SOURCES...): one floor of the house, compiled once for library and tests.
function(lockstep_module name)
  target_sources(lockstep_objects PRIVATE ${ARGN})
  if(name IN_LIST LOCKSTEP_FUZZED_MODULES)
    set_source_files_properties(${ARGN} TARGET_DIRECTORY lockstep_objects
      PROPERTIES COMPILE_OPTIONS -fsanitize=fuzzer-no-link)
  endif()
endfunction()

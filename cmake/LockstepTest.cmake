# lockstep_add_test(stats/sums_test.cpp [RANKS 1 2 3 4] [LABELS quick] [TIMEOUT 60] [ALL_KERNELS])
#
# Adds a file to the test program and one ctest per rank count that runs the file's test cases:
# stats.sums.np3. Without RANKS the file runs on one rank, without mpirun. With ALL_KERNELS it also
# runs on the highest number of ranks with the kernels of every target of this machine:
# stats.sums.avx2.
set(LOCKSTEP_MPI_TEST_ENVIRONMENT
  OMP_NUM_THREADS=1
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1  # containers run as root
  OMPI_MCA_rmaps_base_oversubscribe=true OMPI_MCA_hwloc_base_binding_policy=none
  OMPI_MCA_mpi_yield_when_idle=1  # a waiting rank leaves its core to the others
  OMPI_MCA_plm_rsh_agent=   # one machine: no ssh needed
  OMPI_MCA_btl_vader_single_copy_mechanism=none  # containers often forbid it, with a warning
  PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
  ASAN_OPTIONS=fast_unwind_on_malloc=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
  TSAN_OPTIONS=ignore_noninstrumented_modules=1
  LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/lsan.supp:print_suppressions=0)

# Targets that LOCKSTEP_KERNELS may name here, but the one that runs anyway.
set(LOCKSTEP_TEST_KERNELS reference scalar)
if(EXISTS /proc/cpuinfo)
  file(STRINGS /proc/cpuinfo flags REGEX "^flags" LIMIT_COUNT 1)
  foreach(pair "sse4_2:sse4" "avx2:avx2" "avx512vl:avx512")
    string(REPLACE ":" ";" pair ${pair})
    list(GET pair 0 flag)
    if(flags MATCHES " ${flag} ")
      list(GET pair 1 target)
      list(APPEND LOCKSTEP_TEST_KERNELS ${target})
    endif()
  endforeach()
endif()

# lockstep_add_kernel_tests(NAME COMMAND...): a ctest with the kernels of every target.
function(lockstep_add_kernel_tests name)
  foreach(target IN LISTS LOCKSTEP_TEST_KERNELS)
    add_test(NAME ${name}.${target} COMMAND ${ARGN})
    set_tests_properties(${name}.${target} PROPERTIES PROCESSORS 2 TIMEOUT 120 LABELS mpi
      ENVIRONMENT "${LOCKSTEP_MPI_TEST_ENVIRONMENT};LOCKSTEP_KERNELS=${target}")
  endforeach()
endfunction()

# lockstep_mpi_command(VARIABLE RANKS PROGRAM...): how to start a program on some ranks.
function(lockstep_mpi_command variable ranks)
  set(${variable} ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} ${ranks} ${MPIEXEC_PREFLAGS} ${ARGN}
    PARENT_SCOPE)
endfunction()

function(lockstep_add_test source)
  cmake_parse_arguments(PARSE_ARGV 1 arg "ALL_KERNELS" "TIMEOUT" "RANKS;LABELS")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  cmake_path(GET source PARENT_PATH module)
  cmake_path(GET source STEM stem)
  string(REGEX REPLACE "_test$" "" name ${stem})
  # The tag that selects a file's test cases is its name without folders.
  get_property(stems GLOBAL PROPERTY LOCKSTEP_TEST_STEMS)
  if(stem IN_LIST stems)
    message(FATAL_ERROR "two test files are called ${stem}; give ${source} another name")
  endif()
  set_property(GLOBAL APPEND PROPERTY LOCKSTEP_TEST_STEMS ${stem})
  target_sources(lockstep_tests PRIVATE ${PROJECT_SOURCE_DIR}/tests/${source})
  # The file name is a tag; a run that finds no test case is a failure.
  set(program $<TARGET_FILE:lockstep_tests> --filenames-as-tags "[#${stem}]" --order decl --warn NoTests
    --use-colour no)
  if(NOT arg_RANKS)
    add_test(NAME ${module}.${name} COMMAND ${program})
    set_tests_properties(${module}.${name} PROPERTIES
      TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS}" ENVIRONMENT "${LOCKSTEP_MPI_TEST_ENVIRONMENT}")
  endif()
  foreach(ranks IN LISTS arg_RANKS)
    lockstep_mpi_command(command ${ranks} ${program})
    add_test(NAME ${module}.${name}.np${ranks} COMMAND ${command})
    set_tests_properties(${module}.${name}.np${ranks} PROPERTIES
      PROCESSORS ${ranks} TIMEOUT ${arg_TIMEOUT} LABELS "mpi;np${ranks};${arg_LABELS}"
      ENVIRONMENT "${LOCKSTEP_MPI_TEST_ENVIRONMENT}")
  endforeach()
  if(arg_ALL_KERNELS)
    lockstep_add_kernel_tests(${module}.${name} ${command})
  endif()
endfunction()

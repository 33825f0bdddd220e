# Installs a build tree, then builds the examples against it as users do, by find_package and by
# pkg-config, and runs them on two ranks.
#
#   cmake -D BUILD=build tree -D EXAMPLES=folder -D WORK=scratch folder -D RUN=mpirun;-n;2
#         -D CXX=compiler -D GENERATOR=Ninja -P install_and_use.cmake
file(REMOVE_RECURSE ${WORK})
set(prefix ${WORK}/prefix)

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix})
run(${CMAKE_COMMAND} -G ${GENERATOR} -S ${EXAMPLES} -B ${WORK}/examples
  -D CMAKE_PREFIX_PATH=${prefix} -D CMAKE_CXX_COMPILER=${CXX} -D CMAKE_BUILD_TYPE=Release)
run(${CMAKE_COMMAND} --build ${WORK}/examples)
run(${RUN} ${WORK}/examples/train_in_scope)
run(${RUN} ${WORK}/examples/layer_on_own_memory)

# By pkg-config, without MPI, and for this very machine: what the library allocates must not depend
# on how the program was compiled.
file(GLOB_RECURSE pc_file ${prefix}/lockstep.pc)
cmake_path(GET pc_file PARENT_PATH pc_folder)
set(ENV{PKG_CONFIG_PATH} ${pc_folder})
execute_process(COMMAND pkg-config --cflags --libs lockstep
  OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
cmake_path(GET pc_folder PARENT_PATH libdir)
separate_arguments(flags)
run(${CXX} -std=c++20 -O2 -march=native ${EXAMPLES}/train_in_scope.cpp -o ${WORK}/train_in_scope
  ${flags} -Wl,-rpath,${libdir})
run(${RUN} ${WORK}/train_in_scope)

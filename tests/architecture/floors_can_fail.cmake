# Shows that check_floors finds what it is there for: in a small sound tree each wrong include in
# turn must be reported.
#
#   cmake -D CHECK=check_floors -D README=src/README.md -D ROOT=scratch folder
#         -P floors_can_fail.cmake
include(${CMAKE_CURRENT_LIST_DIR}/../support/expect_failure.cmake)

file(REMOVE_RECURSE ${ROOT})
file(COPY ${README} DESTINATION ${ROOT}/src)
file(WRITE ${ROOT}/include/lockstep/base/tensor.hpp "#include <vector>\n")
file(WRITE ${ROOT}/include/lockstep/comm/mpi.hpp "#include <mpi.h>\n")
file(WRITE ${ROOT}/include/lockstep/lockstep.hpp "#include \"lockstep/base/tensor.hpp\"\n")
file(WRITE ${ROOT}/src/comm/exchange.cpp
  "#include \"comm/exchange.hpp\"\n#include \"lockstep/base/tensor.hpp\"\n#include <unistd.h>\n")
file(WRITE ${ROOT}/tools/main.cpp "#include \"lockstep/lockstep.hpp\"\n#include \"options.hpp\"\n")
execute_process(COMMAND ${CHECK} ${ROOT} COMMAND_ERROR_IS_FATAL ANY)

# wrong(FILE TEXT OUTPUT): with this further file the check must fail and say so.
function(wrong file text output)
  file(WRITE ${ROOT}/${file} "${text}\n")
  expect_failure("${file} ${output}" ${CHECK} ${ROOT})
  file(REMOVE ${ROOT}/${file})
endfunction()

wrong(src/base/wrong.cpp "#include \"layers/layer.hpp\"" "includes layers/layer.hpp")
wrong(src/base/wrong.cpp "  #  include <lockstep/comm/mpi.hpp>" "includes lockstep/comm/mpi.hpp")
wrong(src/stats/wrong.hpp "#include \"params/variable.hpp\"" "includes params/variable.hpp")
wrong(src/io/wrong.cpp "#include \"tools/options.hpp\"" "includes tools/options.hpp")
wrong(src/io/wrong.cpp "#include \"wrong.hpp\"" "includes wrong.hpp")
wrong(src/io/wrong.cpp "#include \"lockstep/lockstep.hpp\"" "includes lockstep/lockstep.hpp")
wrong(src/layers/wrong.cpp "#include <mpi.h>" "includes mpi.h")
wrong(src/norm/wrong.cpp "#include <Eigen/Core>" "includes Eigen/Core")
wrong(src/cellar/wrong.cpp "" "is of no module")
wrong(src/wrong.cpp "" "is of no module")
wrong(include/lockstep/cellar/wrong.hpp "" "is of no module")
wrong(include/lockstep/comm/wrong.hpp "#include \"comm/exchange.hpp\"" "includes comm/exchange.hpp")
wrong(include/lockstep/io/wrong.hpp "#include <nlohmann/json.hpp>" "includes nlohmann/json.hpp")
wrong(include/lockstep/io/wrong.hpp "#include <boost/any.hpp>" "includes boost/any.hpp")
wrong(tools/wrong.cpp "#include \"comm/exchange.hpp\"" "includes comm/exchange.hpp")
wrong(tests/conformance/wrong.cpp "#include <mpi.h>" "includes mpi.h")
wrong(tests/conformance/wrong.cpp "#include \"base/convert.hpp\"" "includes base/convert.hpp")
wrong(tests/examples/wrong.cpp "#include \"base/log.hpp\"" "includes base/log.hpp")

# The umbrella header must have every public header and no other.
file(WRITE ${ROOT}/include/lockstep/base/shape.hpp "")
expect_failure("lockstep.hpp lacks lockstep/base/shape.hpp" ${CHECK} ${ROOT})
file(REMOVE ${ROOT}/include/lockstep/base/shape.hpp)
file(APPEND ${ROOT}/include/lockstep/lockstep.hpp "#include \"lockstep/comm/mpi.hpp\"\n")
expect_failure("lockstep.hpp should not have lockstep/comm/mpi.hpp" ${CHECK} ${ROOT})

# Shows that symbols.cmake finds what it is there for.
include(${CMAKE_CURRENT_LIST_DIR}/../support/expect_failure.cmake)

set(check ${CMAKE_COMMAND} -D NM=${NM} -D LIBRARY=${LIBRARY}
  -P ${CMAKE_CURRENT_LIST_DIR}/symbols.cmake)
expect_failure("  leaked()" ${check})
expect_failure("  std::vector<lockstep::Leak" ${check})

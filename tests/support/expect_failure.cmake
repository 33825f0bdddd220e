# expect_failure(OUTPUT COMMAND...): a command must fail, and for the reason whose words are given.
function(expect_failure output)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE said ERROR_VARIABLE said)
  string(FIND "${said}" "${output}" position)
  if(result EQUAL 0 OR position EQUAL -1)
    message(FATAL_ERROR "expected a failure that says \"${output}\", got ${result}:\n${said}")
  endif()
endfunction()

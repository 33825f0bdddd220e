# Fails when a shared library shows a name that is not of namespace lockstep, nor a C function
# lockstep_*.
#
#   cmake -D NM=nm -D LIBRARY=liblockstep.so -P symbols.cmake
execute_process(COMMAND ${NM} -D -C --defined-only ${LIBRARY}
  OUTPUT_VARIABLE names OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
string(REGEX REPLACE "[][;]" "_" names "${names}")  # they have a meaning in lists
string(REPLACE "\n" ";" names "${names}")
list(TRANSFORM names REPLACE "^[0-9a-f]* . " "")
list(LENGTH names num_names)

set(of "((typeinfo|typeinfo name|vtable|VTT|guard variable) for )?")
list(FILTER names EXCLUDE REGEX "^(${of}lockstep::|lockstep_[a-z_0-9]+$)")
if(names)
  list(JOIN names "\n  " names)
  message(FATAL_ERROR "${LIBRARY} shows names that are not lockstep's:\n  ${names}")
endif()
if(num_names LESS 10)
  message(FATAL_ERROR "${LIBRARY} shows ${num_names} names: is it lockstep's library?")
endif()

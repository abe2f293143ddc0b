# Turns each *.lua into `const char script_NAME[]`: byte values, so that no quoting can go wrong.
set(text "/* Generated from the .lua files of sched. */\n#include \"sched/scripts.h\"\n\n")
foreach(source ${SOURCES})
  get_filename_component(name ${source} NAME_WE)
  file(READ ${source} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND text "const char script_${name}[] = {${bytes}0};\n")
endforeach()
file(WRITE ${OUT} "${text}")

# Join the Lua files into one C array: -D OUT=... -D FILES="a;b", base.lua first.
# @V@ becomes "syn1_" and the first 8 digits of the text's SHA-256, so functions
# of different builds never collide.
set(text "")
foreach(file ${FILES})
  file(READ "${file}" part)
  get_filename_component(name "${file}" NAME)
  if(name STREQUAL "base.lua")
    string(APPEND text "${part}")
  else()
    string(APPEND text "do -- ${name}\n${part}end\n")
  endif()
endforeach()
string(SHA256 hash "${text}")
string(SUBSTRING "${hash}" 0 8 hash)
set(version "syn1_${hash}")
string(REPLACE "@V@" "${version}" text "${text}")
string(PREPEND text "#!lua name=${version}\n")
string(HEX "${text}" hex)
string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
file(WRITE "${OUT}" "// Made by join.cmake from scheduler/lua.
#include \"scheduler/library.h\"

const char sched_library_version[] = \"${version}\";
const unsigned char sched_library_text[] = {
${hex}};
const size_t sched_library_len = sizeof sched_library_text;
")

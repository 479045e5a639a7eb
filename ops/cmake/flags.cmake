# Compiler and linker flags. They travel on one INTERFACE target, linked
# PRIVATE, so nothing outside this tree inherits them.
add_library(synapse_flags INTERFACE)
target_compile_definitions(synapse_flags INTERFACE _POSIX_C_SOURCE=200809L)
target_compile_options(synapse_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes
  -Wmissing-prototypes -Wold-style-definition -Wundef -Wpointer-arith
  -Wcast-qual -Wwrite-strings -Wvla -Wformat=2 -Wimplicit-fallthrough
  -Wdouble-promotion -Wnull-dereference -fno-common -ffp-contract=off
  $<$<C_COMPILER_ID:GNU>:-Wlogical-op -Wduplicated-cond -Wduplicated-branches
    -Walloc-zero -Wjump-misses-init>
  $<$<C_COMPILER_ID:Clang>:-Wcomma -Wshorten-64-to-32
    -Wconditional-uninitialized -Wmissing-variable-declarations>)
if(NOT EMSCRIPTEN)
  target_compile_options(synapse_flags INTERFACE
    -fstack-protector-strong -fstack-clash-protection
    $<$<CONFIG:Release,RelWithDebInfo>:-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3>)
  target_link_options(synapse_flags INTERFACE
    -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed)
endif()
if(SYNAPSE_SANITIZE)
  target_compile_options(synapse_flags INTERFACE
    -fsanitize=${SYNAPSE_SANITIZE} -fno-sanitize-recover=all
    -fno-omit-frame-pointer -g)
  target_link_options(synapse_flags INTERFACE -fsanitize=${SYNAPSE_SANITIZE})
endif()

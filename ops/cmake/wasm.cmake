# Toolchain of the preset `wasm`: clang-19 and wasm-ld-19 over Emscripten's C
# library. Not emcc: it runs a wasm-opt that knows only the old opcodes of relaxed
# SIMD and spoils them, and its glue is not needed.
set(EMSCRIPTEN ON)
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR wasm32)
set(EMSCRIPTEN_SYSROOT /usr/share/emscripten/cache/sysroot CACHE PATH
  "Emscripten's sysroot, with its prebuilt C library")

set(CMAKE_C_COMPILER clang-19)
set(CMAKE_C_COMPILER_TARGET wasm32-unknown-emscripten)
set(CMAKE_ASM_COMPILER clang-19)
set(CMAKE_ASM_COMPILER_TARGET wasm32-unknown-emscripten)
set(CMAKE_SYSROOT ${EMSCRIPTEN_SYSROOT})
find_program(LLVM_AR NAMES llvm-ar-19 llvm-ar-14 llvm-ar REQUIRED)
find_program(LLVM_RANLIB NAMES llvm-ranlib-19 llvm-ranlib-14 llvm-ranlib REQUIRED)
set(CMAKE_AR ${LLVM_AR} CACHE FILEPATH "")
set(CMAKE_RANLIB ${LLVM_RANLIB} CACHE FILEPATH "")
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)

# Atomics: the same objects go into modules of one thread and of several, and
# without it the compiler may assume that there is but one.
add_compile_options(-msimd128 -mbulk-memory -matomics)
set(CMAKE_EXECUTABLE_SUFFIX_C .wasm)
set(CMAKE_C_LINK_EXECUTABLE
  "wasm-ld-19 <LINK_FLAGS> <OBJECTS> -o <TARGET> <LINK_LIBRARIES>")

# The fast twins that this target can have, each file compiled for its own
# instruction set; dispatch.c picks at run time. The relaxed twin is added by
# volunteer/web, which builds the engine a second time with it.
target_sources(engine PRIVATE dispatch.c)
if(EMSCRIPTEN)
  target_sources(engine PRIVATE attention_simd.c matmul_simd.c norm_simd.c
    quantise_simd.c tables_simd.c)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(optimise $<$<NOT:$<CONFIG:Debug>>:-O3>)
  set(avx2 attention_avx2.c matmul_avx2.c norm_avx2.c quantise_avx2.c
    tables_avx2.c)
  set(vnni512 attention_vnni512.c matmul_vnni512.c quantise_vnni512.c)
  target_sources(engine PRIVATE ${avx2} matmul_vnni.c ${vnni512})
  set_source_files_properties(${avx2} PROPERTIES
    COMPILE_OPTIONS "-mavx2;${optimise}")
  set_source_files_properties(matmul_vnni.c PROPERTIES
    COMPILE_OPTIONS "-mavx2;-mavxvnni;${optimise}")
  set_source_files_properties(${vnni512} PROPERTIES
    COMPILE_OPTIONS "-mavx2;-mavx512f;-mavx512bw;-mavx512vl;-mavx512vnni;${optimise}")
endif()
if(NOT EMSCRIPTEN)
  target_sources(engine PRIVATE class_f32.c)
  target_link_libraries(engine PRIVATE m)
endif()

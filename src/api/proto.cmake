# What the gRPC API is made of: C for the messages, by protobuf-c's compiler, and the descriptions of them that the
# program tells its clients.
find_program(PROTOC protoc)
find_program(PROTOC_C protoc-c)
if(NOT PROTOC OR NOT PROTOC_C)
  message(FATAL_ERROR "protoc or protoc-c was not found; install them with: apt-get install protobuf-compiler protobuf-c-compiler")
endif()

set(proto_root ${CMAKE_CURRENT_LIST_DIR}/proto)
set(proto_out ${CMAKE_CURRENT_BINARY_DIR}/proto)
file(MAKE_DIRECTORY ${proto_out})
file(GLOB proto_files CONFIGURE_DEPENDS ${proto_root}/*.proto)

set(proto_sources "")
foreach(name migration health reflection_v1) # messages of reflection_v1alpha are the same as those of v1
  add_custom_command(OUTPUT ${proto_out}/${name}.pb-c.c ${proto_out}/${name}.pb-c.h
    COMMAND ${PROTOC_C} --proto_path=${proto_root} --c_out=${proto_out} ${proto_root}/${name}.proto
    DEPENDS ${proto_root}/${name}.proto VERBATIM)
  list(APPEND proto_sources ${proto_out}/${name}.pb-c.c)
endforeach()
add_custom_command(OUTPUT ${proto_out}/descriptors
  COMMAND ${PROTOC} --proto_path=${proto_root} --include_source_info --descriptor_set_out=${proto_out}/descriptors ${proto_files}
  DEPENDS ${proto_files} VERBATIM)

string(REGEX REPLACE "([\\\"])" "\\\\\\1" proto_out_quoted ${proto_out})
string(REGEX REPLACE "([\\\"])" "\\\\\\1" proto_root_quoted ${proto_root})
set(proto_table ${CMAKE_CURRENT_BINARY_DIR}/rpc_descriptors.S)
file(CONFIGURE OUTPUT ${proto_table} @ONLY CONTENT
".section .rodata
.globl rpc_descriptors, rpc_descriptors_end, rpc_proto, rpc_proto_end
rpc_descriptors: .incbin \"@proto_out_quoted@/descriptors\"
rpc_descriptors_end: .byte 0
rpc_proto: .incbin \"@proto_root_quoted@/migration.proto\"
rpc_proto_end: .byte 0

.section .note.GNU-stack, \"\", %progbits
")
set_property(SOURCE ${proto_table} PROPERTY OBJECT_DEPENDS "${proto_out}/descriptors;${proto_root}/migration.proto")

add_library(bfm_proto STATIC ${proto_sources} ${proto_table})
target_include_directories(bfm_proto SYSTEM PUBLIC ${proto_out})
target_link_libraries(bfm_proto PUBLIC PkgConfig::protobufc)
target_compile_options(bfm_proto PRIVATE $<$<COMPILE_LANGUAGE:C>:-w>)
install(FILES ${proto_root}/migration.proto DESTINATION share/bfm)

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
foreach(reflection v1 v1alpha)
  configure_file(${proto_root}/reflection.proto.in ${proto_out}/reflection_${reflection}.proto @ONLY)
  list(APPEND proto_files ${proto_out}/reflection_${reflection}.proto)
endforeach()

set(proto_sources "")
foreach(file ${proto_files})
  get_filename_component(name ${file} NAME_WE)
  if(name STREQUAL "reflection_v1alpha") # its messages are the same as those of v1
    continue()
  endif()
  add_custom_command(OUTPUT ${proto_out}/${name}.pb-c.c ${proto_out}/${name}.pb-c.h
    COMMAND ${PROTOC_C} --proto_path=${proto_root} --proto_path=${proto_out} --c_out=${proto_out} ${file}
    DEPENDS ${file} VERBATIM)
  list(APPEND proto_sources ${proto_out}/${name}.pb-c.c)
endforeach()
add_custom_command(OUTPUT ${proto_out}/descriptors
  COMMAND ${PROTOC} --proto_path=${proto_root} --proto_path=${proto_out} --include_source_info --descriptor_set_out=${proto_out}/descriptors ${proto_files}
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

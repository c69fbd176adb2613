# Puts the scripts of migrations/{backend}/{connection}/ into the program: the assembler takes the files as they are
# into read-only data and lays out the table declared in server/embedded.h. A script that changes, comes or goes is
# noticed by the next build.
enable_language(ASM)

set(embedded_root ${PROJECT_SOURCE_DIR}/migrations)
file(GLOB embedded_files CONFIGURE_DEPENDS RELATIVE ${embedded_root}
  ${embedded_root}/*/*/*.sql ${embedded_root}/*/*/*.json ${embedded_root}/*/*/*.go)
list(SORT embedded_files)

set(embedded_texts "")
set(embedded_table "")
set(embedded_count 0)
foreach(file ${embedded_files})
  set(n ${embedded_count})
  string(REGEX REPLACE "([\\\"])" "\\\\\\1" path ${file})
  string(REGEX REPLACE "([\\\"])" "\\\\\\1" full ${embedded_root}/${file})
  string(APPEND embedded_texts
    ".Lpath${n}: .asciz \"${path}\"\n.Ltext${n}: .incbin \"${full}\"\n.Lend${n}: .byte 0\n")
  string(APPEND embedded_table # path, text, len, is_static
    ".dc.a .Lpath${n}, .Ltext${n}, .Lend${n} - .Ltext${n}\n.byte 1\n.balign ${CMAKE_SIZEOF_VOID_P}\n")
  math(EXPR embedded_count "${embedded_count} + 1")
endforeach()

set(embedded_source ${CMAKE_CURRENT_BINARY_DIR}/embedded.S)
file(CONFIGURE OUTPUT ${embedded_source} @ONLY CONTENT
".section .rodata
@embedded_texts@
.balign @CMAKE_SIZEOF_VOID_P@
.globl embedded_file_count
.type embedded_file_count, %object
embedded_file_count: .dc.a @embedded_count@
.size embedded_file_count, . - embedded_file_count

.section .data.rel.ro, \"aw\", %progbits
.balign @CMAKE_SIZEOF_VOID_P@
.globl embedded_files
.type embedded_files, %object
embedded_files:
@embedded_table@
.size embedded_files, . - embedded_files

.section .note.GNU-stack, \"\", %progbits
")
list(TRANSFORM embedded_files PREPEND ${embedded_root}/)
set_property(SOURCE ${embedded_source} PROPERTY OBJECT_DEPENDS ${embedded_files})

add_library(bfm_embedded STATIC ${embedded_source})
set_target_properties(bfm_embedded PROPERTIES LINKER_LANGUAGE C)
target_link_libraries(bfm_embedded PUBLIC bfm_model)

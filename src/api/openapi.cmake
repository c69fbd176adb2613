# Turns openapi.json into an object of bfm_api, so that the program can tell what it serves.
set(openapi_json ${CMAKE_CURRENT_LIST_DIR}/openapi.json)
set(openapi_c ${CMAKE_CURRENT_BINARY_DIR}/openapi.c)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${openapi_json})

file(READ ${openapi_json} openapi_hex HEX)
string(LENGTH ${openapi_hex} openapi_digits)
math(EXPR openapi_bytes "${openapi_digits} / 2")
string(REGEX REPLACE "(..)" "0x\\1," openapi_hex ${openapi_hex})
string(REGEX REPLACE "(................................................................................)" "\\1\n"
  openapi_hex ${openapi_hex})
file(CONFIGURE OUTPUT ${openapi_c} @ONLY CONTENT
"#include \"api/openapi.h\"
const char openapi_text[] = {
@openapi_hex@
0};
const size_t openapi_len = @openapi_bytes@;
")
target_sources(bfm_api PRIVATE ${openapi_c})

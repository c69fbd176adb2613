# Warnings and hardening for our own code. Linked by every target of ours, by no third-party code.
add_library(flags INTERFACE)
target_compile_features(flags INTERFACE c_std_11)
target_compile_definitions(flags INTERFACE _GNU_SOURCE)
target_compile_options(flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wformat=2 -Wundef -Wvla
  -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wredundant-decls -Wcast-qual
  -Wwrite-strings -Wpointer-arith -Wdouble-promotion -Wimplicit-fallthrough -Wdate-time
  -Werror=implicit-function-declaration -Werror=incompatible-pointer-types -Werror=int-conversion
  -Werror=return-type -Werror=switch -fno-common -fno-strict-aliasing -fno-omit-frame-pointer
  $<$<C_COMPILER_ID:GNU>:-Wlogical-op;-Wduplicated-cond;-Wduplicated-branches;-Wjump-misses-init>
  $<$<C_COMPILER_ID:GNU>:-Wcast-align=strict;-Wformat-signedness>
  $<$<C_COMPILER_ID:Clang>:-Wcomma;-Wconditional-uninitialized;-Wmissing-variable-declarations>
  $<$<C_COMPILER_ID:Clang>:-Wunreachable-code-aggressive;-Wassign-enum>
  $<$<CONFIG:Release>:-D_FORTIFY_SOURCE=3;-fstack-protector-strong;-fstack-clash-protection;-fcf-protection>)
target_link_options(flags INTERFACE -Wl,-z,relro,-z,now)
if(CRASH_POINTS)
  target_compile_definitions(flags INTERFACE BFM_CRASH_POINTS)
endif()
if(SANITIZE)
  target_compile_options(flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all)
  target_link_options(flags INTERFACE -fsanitize=address,undefined)
endif()

#ifndef BFM_TESTS_CMOCKA_ALL_H
#define BFM_TESTS_CMOCKA_ALL_H

/* cmocka wants these in front of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif

/* What every unit test includes: cmocka wants these first. */
#ifndef PYE_TESTS_CHECK_H
#define PYE_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif

#ifndef BFM_IO_FILES_H
#define BFM_IO_FILES_H

#include <stdint.h>

/* Lets the process have as many open files as the system allows it, and returns how many that are.
 */
uint64_t files_raise_limit(void);

#endif

#ifndef BFM_IO_RETIRE_H
#define BFM_IO_RETIRE_H

#include "io/loop.h"
#include "model/registry.h"

/*
 * Where registries go when a newer one has taken their place. Freeing 100,000 migrations takes
 * longer than the loop may be kept busy, and it is not known which run will drop the last
 * reference; so each retired registry is held until nobody else has it, and then freed on a pool
 * thread.
 */
struct retire;

struct retire *retire_create(struct loop *loop); /* NULL when memory is out */

/* Takes over one reference, the caller's; NULL is fine. If memory is out it is dropped at once. */
void retire_add(struct retire *retire, struct registry *registry);

/* How many registries are held because of other users. */
size_t retire_held(const struct retire *retire);

/*
 * Waits for what is being freed, then the retire is gone and `op` is done. Registries that somebody
 * still has are left to him. Always starts; cannot be cut short.
 */
int retire_close(struct retire *retire, struct op *op);

#endif

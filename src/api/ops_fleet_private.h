#ifndef BFM_API_OPS_FLEET_PRIVATE_H
#define BFM_API_OPS_FLEET_PRIVATE_H

#include "api/ops_fleet.h"

/* What ops_fleet.c and ops_gate.c share. */

/* Takes the request over; `gate` NULL: it is none. Refusals are put into op->err. */
int fleet_start(struct ops *ops, struct op *op, const struct ops_fleet_request *request,
                struct ops_gate *gate, struct ops_fleet *out);
/* What the registry has of the connection, in the order of versions. */
const struct registry_group *fleet_group(const struct ops_fleet *fleet);

/* Checks the version and finds what declares a schema. */
int gate_expect(struct ops_gate *gate, struct err *err);
/* Asks for what is applied there. 1: there is nothing to ask for. */
int gate_ask(struct ops_gate *gate);
/* On a thread: decides. */
int gate_judge(struct ops_gate *gate);

#endif

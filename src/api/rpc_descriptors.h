#ifndef BFM_API_RPC_DESCRIPTORS_H
#define BFM_API_RPC_DESCRIPTORS_H

#include <stdint.h>

/* The files of proto/ as the build found them: a FileDescriptorSet of all, and the text of
 * migration.proto. */
extern const uint8_t rpc_descriptors[], rpc_descriptors_end[];
extern const char rpc_proto[], rpc_proto_end[];

#endif

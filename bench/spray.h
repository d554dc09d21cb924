/* The flows of bench/fastpath_flows and bench/udp_spray. */
#ifndef BENCH_SPRAY_H
#define BENCH_SPRAY_H

#define SPRAY_CLIENTS 0x0ac80000u /* 10.200.0.0 */
#define SPRAY_NEAR 0x0ac90000u /* 10.201.0.0 */
#define SPRAY_PORT 1024u
#define SPRAY_PORTS 16384u /* of each address */

#endif

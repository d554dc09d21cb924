/* bpf(2), which libc does not have. */
#ifndef NET_BPFCALL_H
#define NET_BPFCALL_H

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline int
bpf_call(enum bpf_cmd command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof *attr);
}

#endif

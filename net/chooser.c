#include "net/chooser.h"

#include <errno.h>
#include <linux/filter.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/bpfcall.h"

#define R(n) BPF_REG_##n

/* A map of one socket. */
static int
make_map(int socket)
{
	union bpf_attr attr;
	uint32_t key = 0;
	uint64_t value = (uint64_t)socket;
	int fd;

	memset(&attr, 0, sizeof attr);
	attr.map_type = BPF_MAP_TYPE_SOCKMAP;
	attr.key_size = sizeof key;
	attr.value_size = sizeof value;
	attr.max_entries = 1;
	fd = bpf_call(BPF_MAP_CREATE, &attr);
	if (fd < 0)
		return -1;
	memset(&attr, 0, sizeof attr);
	attr.map_fd = (uint32_t)fd;
	attr.key = (uint64_t)(uintptr_t)&key;
	attr.value = (uint64_t)(uintptr_t)&value;
	if (bpf_call(BPF_MAP_UPDATE_ELEM, &attr) == 0)
		return fd;
	close(fd);
	return -1;
}

#define OP(c, dst, src, o, i)                                                \
	{                                                                    \
		.code = (c), .dst_reg = (dst), .src_reg = (src), .off = (o), \
		.imm = (i)                                                   \
	}
#define MOVE(dst, src) OP(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)
#define PUT(dst, i) OP(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, i)
#define CALL(f) OP(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_##f)

/*
 * if (ctx->local_port == port && (sk = map[0]) != NULL) assign(ctx, sk);
 * return SK_PASS;
 */
static int
load(int map, uint16_t port)
{
	const struct bpf_insn code[] = {
		MOVE(R(6), R(1)),
		OP(BPF_LDX | BPF_MEM | BPF_W, R(2), R(1),
		    offsetof(struct bpf_sk_lookup, local_port), 0),
		OP(BPF_JMP | BPF_JNE | BPF_K, R(2), 0, 14, port),
		OP(BPF_ST | BPF_MEM | BPF_W, R(10), 0, -4, 0),
		OP(BPF_LD | BPF_DW | BPF_IMM, R(1), BPF_PSEUDO_MAP_FD, 0, map),
		OP(0, 0, 0, 0, 0),
		MOVE(R(2), R(10)),
		OP(BPF_ALU64 | BPF_ADD | BPF_K, R(2), 0, 0, -4),
		CALL(map_lookup_elem),
		OP(BPF_JMP | BPF_JEQ | BPF_K, R(0), 0, 7, 0),
		MOVE(R(7), R(0)),
		MOVE(R(1), R(6)),
		MOVE(R(2), R(7)),
		PUT(R(3), 0),
		CALL(sk_assign),
		MOVE(R(1), R(7)),
		CALL(sk_release),
		PUT(R(0), SK_PASS),
		OP(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	union bpf_attr attr;

	memset(&attr, 0, sizeof attr);
	attr.prog_type = BPF_PROG_TYPE_SK_LOOKUP;
	attr.expected_attach_type = BPF_SK_LOOKUP;
	attr.insns = (uint64_t)(uintptr_t)code;
	attr.insn_cnt = sizeof code / sizeof *code;
	attr.license = (uint64_t)(uintptr_t) "GPL"; /* the helpers ask for it */
	return bpf_call(BPF_PROG_LOAD, &attr);
}

static int
attach(int program, int netns)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof attr);
	attr.link_create.prog_fd = (uint32_t)program;
	attr.link_create.target_fd = (uint32_t)netns;
	attr.link_create.attach_type = BPF_SK_LOOKUP;
	return bpf_call(BPF_LINK_CREATE, &attr);
}

/* The program holds its map, the link its program. */
int
chooser_attach(int netns, int socket, uint16_t port)
{
	int map = make_map(socket), program = -1, link = -1, saved;

	if (map >= 0)
		program = load(map, port);
	if (program >= 0)
		link = attach(program, netns);
	saved = errno;
	if (map >= 0)
		close(map);
	if (program >= 0)
		close(program);
	errno = saved;
	return link;
}

int
chooser_steer(int socket, unsigned int member)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_RET | BPF_K, member),
	};
	const struct sock_fprog program = { .len = 1, .filter = code };

	return setsockopt(socket, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF,
	    &program, sizeof program);
}

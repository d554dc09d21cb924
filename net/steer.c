#include "net/steer.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/sock_diag.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#define UDP_HEADER 8 /* a UDP socket's filter sees it before the payload */
#define FRAME 12 /* ROUGHTIM and the length */
#define TAGS_MAX 32
#define UDP_MAX 65535
#define GOOGLE_MIN 1024 /* a shorter request is not answered */

/* Loads are big endian, the wire's words are little endian. */
#define WORD_ROUG 0x524f5547u
#define WORD_HTIM 0x4854494du
#define WORD_NONC 0x4e4f4e43u
#define WORD_PAD 0x504144ffu
#define WORD_TWO 0x02000000u

/* Jump targets that finish() resolves; no real distance comes near them. */
#define NEXT 0
#define DROP 0xff
#define PASS 0xfe

struct program {
	struct sock_filter code[128 + 2 * STEER_GROUP_MAX];
	unsigned short n;
};

static void
op(struct program *p, unsigned int code, uint32_t k)
{
	p->code[p->n++] =
	    (struct sock_filter){ .code = (unsigned short)code, .k = k };
}

static void
jump(struct program *p, unsigned int test, uint32_t k, uint8_t yes, uint8_t no)
{
	op(p, BPF_JMP | test, k);
	p->code[p->n - 1].jt = yes;
	p->code[p->n - 1].jf = no;
}

static uint8_t
resolve(uint8_t target, unsigned int at, unsigned int pass, unsigned int drop)
{
	if (target == PASS)
		return (uint8_t)(pass - at - 1);
	if (target == DROP)
		return (uint8_t)(drop - at - 1);
	return target;
}

static void
finish(struct program *p)
{
	unsigned int drop = p->n, pass = drop + 1;

	op(p, BPF_RET | BPF_K, 0);
	op(p, BPF_RET | BPF_K, UINT32_MAX);
	for (unsigned int i = 0; i < drop; i++) {
		struct sock_filter *f = &p->code[i];

		if (BPF_CLASS(f->code) != BPF_JMP || BPF_OP(f->code) == BPF_JA)
			continue;
		f->jt = resolve(f->jt, i, pass, drop);
		f->jf = resolve(f->jf, i, pass, drop);
	}
}

/*
 * Leaves in X where the message begins in the payload: after a frame whose
 * length field, put together from its bytes, says exactly what is there; or
 * at 0 when there is no frame.
 */
static void
take_frame(struct program *p)
{
	op(p, BPF_LD | BPF_W | BPF_ABS, UDP_HEADER);
	jump(p, BPF_JEQ | BPF_K, WORD_ROUG, NEXT, 15);
	op(p, BPF_LD | BPF_W | BPF_ABS, UDP_HEADER + 4);
	jump(p, BPF_JEQ | BPF_K, WORD_HTIM, NEXT, DROP);
	op(p, BPF_LD | BPF_H | BPF_ABS, UDP_HEADER + 10);
	jump(p, BPF_JEQ | BPF_K, 0, NEXT, DROP); /* under 65536 */
	op(p, BPF_LD | BPF_B | BPF_ABS, UDP_HEADER + 9);
	op(p, BPF_ALU | BPF_LSH | BPF_K, 8);
	op(p, BPF_MISC | BPF_TAX, 0);
	op(p, BPF_LD | BPF_B | BPF_ABS, UDP_HEADER + 8);
	op(p, BPF_ALU | BPF_OR | BPF_X, 0);
	op(p, BPF_ALU | BPF_ADD | BPF_K, UDP_HEADER + FRAME);
	op(p, BPF_MISC | BPF_TAX, 0);
	op(p, BPF_LD | BPF_W | BPF_LEN, 0);
	jump(p, BPF_JEQ | BPF_X, 0, NEXT, DROP);
	op(p, BPF_LDX | BPF_W | BPF_IMM, FRAME);
	op(p, BPF_JMP | BPF_JA, 1);
	op(p, BPF_LDX | BPF_W | BPF_IMM, 0); /* no frame: from 15 above */
}

/*
 * The message at X has 1 to 32 tags, and NONC is among them: every version
 * has it. The tags begin 4 N bytes into the message. With fewer than 32 of
 * them this looks into the values too, which only lets a little more through;
 * past the end of the datagram the load itself drops it.
 */
static void
want_nonce(struct program *p)
{
	op(p, BPF_LD | BPF_W | BPF_IND, UDP_HEADER);
	jump(p, BPF_JSET | BPF_K, 0x00ffffff, DROP, NEXT);
	op(p, BPF_ALU | BPF_RSH | BPF_K, 24);
	jump(p, BPF_JEQ | BPF_K, 0, DROP, NEXT);
	jump(p, BPF_JGT | BPF_K, TAGS_MAX, DROP, NEXT);
	op(p, BPF_ALU | BPF_LSH | BPF_K, 2);
	op(p, BPF_ALU | BPF_ADD | BPF_X, 0);
	op(p, BPF_MISC | BPF_TAX, 0);
	for (uint32_t i = 0; i < TAGS_MAX; i++) {
		op(p, BPF_LD | BPF_W | BPF_IND, UDP_HEADER + 4 * i);
		jump(p, BPF_JEQ | BPF_K, WORD_NONC, PASS, NEXT);
	}
	p->code[p->n - 1].jf = DROP;
}

int
steer_roughtime_filter(int fd, uint32_t min_len)
{
	struct program p = { .n = 0 };
	struct sock_fprog prog = { .filter = p.code };

	if (min_len > UDP_MAX) {
		errno = EINVAL;
		return -1;
	}
	op(&p, BPF_LD | BPF_W | BPF_LEN, 0);
	jump(&p, BPF_JGE | BPF_K, UDP_HEADER + min_len, NEXT, DROP);
	jump(&p, BPF_JSET | BPF_K, 3, DROP, NEXT); /* messages are words */
	take_frame(&p);
	want_nonce(&p);
	finish(&p);
	prog.len = p.n;
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof prog);
}

/* ---- one group, two services ---- */

/*
 * A hash of the client into A. This program sees a datagram from its payload
 * on; SKF_NET_OFF is where its IP header begins. The port stands where it does
 * without IP options; where there are some, other bytes serve as well.
 */
static void
hash_client(struct program *p, uint32_t seed)
{
	const uint32_t ip = (uint32_t)SKF_NET_OFF;

	op(p, BPF_LD | BPF_B | BPF_ABS, ip);
	op(p, BPF_ALU | BPF_RSH | BPF_K, 4);
	jump(p, BPF_JEQ | BPF_K, 6, 4, NEXT);
	op(p, BPF_LD | BPF_W | BPF_ABS, ip + 12);
	op(p, BPF_MISC | BPF_TAX, 0);
	op(p, BPF_LD | BPF_H | BPF_ABS, ip + 20);
	op(p, BPF_JMP | BPF_JA, 3);
	op(p, BPF_LD | BPF_W | BPF_ABS, ip + 20);
	op(p, BPF_MISC | BPF_TAX, 0);
	op(p, BPF_LD | BPF_H | BPF_ABS, ip + 40);
	/* Fibonacci hashing, and a round more of it */
	op(p, BPF_ALU | BPF_MUL | BPF_K, 0x9e3779b1u);
	op(p, BPF_ALU | BPF_XOR | BPF_X, 0);
	op(p, BPF_ALU | BPF_XOR | BPF_K, seed);
	op(p, BPF_ALU | BPF_MUL | BPF_K, 0x85ebca6bu);
	op(p, BPF_MISC | BPF_TAX, 0);
	op(p, BPF_ALU | BPF_RSH | BPF_K, 16);
	op(p, BPF_ALU | BPF_XOR | BPF_X, 0);
}

/* Ends with the number of one of the sockets of a kind. */
static void
choose(struct program *p, const enum steer_kind *kinds, size_t n,
    enum steer_kind kind, uint32_t seed)
{
	uint32_t of_kind = 0, k = 0;

	for (size_t i = 0; i < n; i++)
		of_kind += kinds[i] == kind;
	if (of_kind > 1) {
		hash_client(p, seed);
		op(p, BPF_ALU | BPF_MOD | BPF_K, of_kind);
	}
	for (uint32_t i = 0; i < n; i++) {
		if (kinds[i] != kind)
			continue;
		if (++k < of_kind)
			jump(p, BPF_JEQ | BPF_K, k - 1, NEXT, 1);
		op(p, BPF_RET | BPF_K, i);
	}
}

/* A load past the end would end the program with 0, so lengths come first. */
int
steer_demux(int fd, const enum steer_kind *kinds, size_t n, uint32_t seed)
{
	struct program p = { .n = 0 };
	struct sock_fprog prog = { .filter = p.code };
	size_t of[STEER_KINDS] = { 0 };
	unsigned short over;

	for (size_t i = 0; i < n && i < STEER_GROUP_MAX; i++)
		of[kinds[i]]++;
	if (n > STEER_GROUP_MAX || of[STEER_TIME] == 0 ||
	    of[STEER_CUSTOMER] == 0) {
		errno = EINVAL;
		return -1;
	}
	op(&p, BPF_LD | BPF_W | BPF_LEN, 0);
	jump(&p, BPF_JGE | BPF_K, FRAME, NEXT, 14);
	op(&p, BPF_LD | BPF_W | BPF_ABS, 0);
	jump(&p, BPF_JEQ | BPF_K, WORD_ROUG, NEXT, 3);
	op(&p, BPF_LD | BPF_W | BPF_ABS, 4);
	jump(&p, BPF_JEQ | BPF_K, WORD_HTIM, 9, NEXT);
	op(&p, BPF_JMP | BPF_JA, 9);
	op(&p, BPF_LD | BPF_W | BPF_LEN, 0);
	jump(&p, BPF_JGE | BPF_K, GOOGLE_MIN, NEXT, 7);
	op(&p, BPF_LD | BPF_W | BPF_ABS, 0);
	jump(&p, BPF_JEQ | BPF_K, WORD_TWO, NEXT, 5);
	op(&p, BPF_LD | BPF_W | BPF_ABS, 8);
	jump(&p, BPF_JEQ | BPF_K, WORD_NONC, NEXT, 3);
	op(&p, BPF_LD | BPF_W | BPF_ABS, 12);
	jump(&p, BPF_JEQ | BPF_K, WORD_PAD, NEXT, 1);
	over = p.n;
	op(&p, BPF_JMP | BPF_JA, 0);
	choose(&p, kinds, n, STEER_CUSTOMER, seed);
	p.code[over].k = p.n - over - 1u;
	choose(&p, kinds, n, STEER_TIME, seed);
	prog.len = p.n;
	return setsockopt(
	    fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &prog, sizeof prog);
}

enum steer_kind
steer_stream(const uint8_t *bytes, size_t len)
{
	static const uint8_t magic[STEER_PEEK_LEN] = "ROUGHTIM";

	if (memcmp(bytes, magic, len < sizeof magic ? len : sizeof magic) != 0)
		return STEER_CUSTOMER;
	return len < sizeof magic ? STEER_IDLE : STEER_TIME;
}

/* ---- more and less ---- */

int
steer_stop(int fd)
{
	struct sock_filter none = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog prog = { .len = 1, .filter = &none };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof prog);
}

void
steer_go_on(int fd)
{
	const int unused = 0; /* the kernel refuses an option without */

	(void)setsockopt(
	    fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused);
}

int
steer_drops(int fd, uint32_t *drops)
{
	uint32_t info[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof info;

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len) < 0)
		return -1;
	*drops = info[SK_MEMINFO_DROPS];
	return 0;
}

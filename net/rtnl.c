#include "net/rtnl.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define ANSWER_LEN 16384
#define READS_MOST 256 /* of one answer */

enum progress { MORE = 0, ENDED, FAILED };

struct answer {
	uint32_t number;
	bool dump;
	uint16_t type;
	size_t head;
	void (*read)(const struct nlmsghdr *h, void *to);
	void *to;
};

/* Also what the end of a dump says: it may have failed on its way. */
static enum progress
read_error(const struct nlmsghdr *h)
{
	int error = 0;

	if (h->nlmsg_len >= NLMSG_LENGTH(sizeof error))
		memcpy(&error, NLMSG_DATA(h), sizeof error);
	errno = -error;
	return error == 0 ? ENDED : FAILED;
}

static enum progress
read_message(const struct nlmsghdr *h, const struct answer *a)
{
	if (h->nlmsg_seq != a->number)
		return MORE; /* of a question that was given up */
	if (h->nlmsg_type == NLMSG_ERROR || h->nlmsg_type == NLMSG_DONE)
		return read_error(h);
	if (h->nlmsg_type != a->type || h->nlmsg_len < NLMSG_LENGTH(a->head)) {
		errno = EPROTO;
		return FAILED;
	}
	a->read(h, a->to);
	return a->dump ? MORE : ENDED;
}

static enum progress
read_datagram(int fd, const struct answer *a)
{
	_Alignas(struct nlmsghdr) uint8_t datagram[ANSWER_LEN];
	ssize_t n = recv(fd, datagram, sizeof datagram, MSG_TRUNC);
	const struct nlmsghdr *h = (const struct nlmsghdr *)datagram;
	enum progress progress = MORE;

	if (n < 0)
		return errno == EINTR ? MORE : FAILED;
	if ((size_t)n > sizeof datagram) {
		errno = EMSGSIZE;
		return FAILED;
	}
	for (size_t left = (size_t)n; progress == MORE && NLMSG_OK(h, left);) {
		size_t step = NLMSG_ALIGN(h->nlmsg_len);

		progress = read_message(h, a);
		if (step > left)
			break;
		left -= step;
		h = (const struct nlmsghdr *)((const uint8_t *)h + step);
	}
	return progress;
}

int
rtnl_ask(int fd, struct nlmsghdr *question, uint16_t type, size_t head,
    void (*read)(const struct nlmsghdr *h, void *to), void *to)
{
	static uint32_t numbers;
	const struct answer a = {
		.number = __atomic_add_fetch(&numbers, 1, __ATOMIC_RELAXED),
		.dump = (question->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP,
		.type = type,
		.head = head,
		.read = read,
		.to = to,
	};
	enum progress progress = MORE;

	question->nlmsg_seq = a.number;
	question->nlmsg_flags |= NLM_F_REQUEST;
	if (send(fd, question, question->nlmsg_len, 0) < 0)
		return -1;
	errno = EPROTO; /* should it never end */
	for (int i = 0; i < READS_MOST && progress == MORE; i++)
		progress = read_datagram(fd, &a);
	return progress == ENDED ? 0 : -1;
}

/* ---- attributes ---- */

struct rtnl_walk
rtnl_walk(const struct nlmsghdr *h, size_t head)
{
	size_t before = NLMSG_SPACE(head);
	const uint8_t *at = (const uint8_t *)h + before;

	return (struct rtnl_walk){ .at = (const struct rtattr *)at,
		.left = (int)(h->nlmsg_len - before) };
}

struct rtnl_walk
rtnl_nested(const struct rtattr *a)
{
	return (
	    struct rtnl_walk){ .at = RTA_DATA(a), .left = (int)RTA_PAYLOAD(a) };
}

const struct rtattr *
rtnl_next(struct rtnl_walk *w)
{
	const struct rtattr *a = w->at;
	int step;

	if (!RTA_OK(a, w->left))
		return NULL;
	step = (int)RTA_ALIGN(a->rta_len);
	w->left -= step;
	w->at = (const struct rtattr *)((const uint8_t *)a + step);
	return a;
}

uint32_t
rtnl_word(const struct rtattr *a)
{
	uint32_t word = 0;

	if (RTA_PAYLOAD(a) >= sizeof word)
		memcpy(&word, RTA_DATA(a), sizeof word);
	return word;
}

bool
rtnl_is(const struct rtattr *a, const char *text)
{
	size_t len = strlen(text) + 1;

	return RTA_PAYLOAD(a) >= len && memcmp(RTA_DATA(a), text, len) == 0;
}

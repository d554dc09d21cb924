/* Questions to the kernel's networks and what it answers (rtnetlink(7)); the
 * sockets are net/sock's. Takes no right, and no file. */
#ifndef NET_RTNL_H
#define NET_RTNL_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Has `read` see each message of the answer that is of this type and has at
 * least `head` bytes after its header. `question` is numbered here; with
 * NLM_F_DUMP all of the answer is read. 0, or -1 with errno: the kernel's own,
 * EPROTO when it says something else, EAGAIN when it says nothing in time.
 */
int rtnl_ask(int fd, struct nlmsghdr *question, uint16_t type, size_t head,
    void (*read)(const struct nlmsghdr *h, void *to), void *to);

/* Attributes that follow `head` bytes of a message, or those that are nested
 * in one. NULL: there is none (any more). */
struct rtnl_walk {
	const struct rtattr *at;
	int left; /* bytes */
};
struct rtnl_walk rtnl_walk(const struct nlmsghdr *h, size_t head);
struct rtnl_walk rtnl_nested(const struct rtattr *a);
const struct rtattr *rtnl_next(struct rtnl_walk *w);

/* What an attribute says: a word of the host's order, 0 where it is shorter;
 * whether it is this text. */
uint32_t rtnl_word(const struct rtattr *a);
bool rtnl_is(const struct rtattr *a, const char *text);

#endif

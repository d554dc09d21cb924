#include "net/segment.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/uio.h>

void *
segment_control(struct msghdr *h, int level, int type, size_t len)
{
	struct cmsghdr *c =
	    (void *)((uint8_t *)h->msg_control + h->msg_controllen);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	h->msg_controllen += CMSG_SPACE(len);
	return CMSG_DATA(c);
}

void
segment_put(struct msghdr *h, uint32_t segment)
{
	uint16_t bytes = (uint16_t)segment;

	memcpy(segment_control(h, SOL_UDP, UDP_SEGMENT, sizeof bytes), &bytes,
	    sizeof bytes);
}

/* EIO: a device or a socket without checksums, so never; EINVAL, EMSGSIZE: not
 * this length on this route. */
bool
segment_is_refusal(int error)
{
	return error == EIO || error == EINVAL || error == EMSGSIZE;
}

unsigned int
segment_singly(const struct msghdr *h, uint32_t segment, int fd, int *error)
{
	struct msghdr one = *h;
	unsigned int refused = 0;

	one.msg_controllen -= SEGMENT_CONTROL;
	one.msg_iovlen = 1;
	for (size_t i = 0; i < h->msg_iovlen; i++) {
		struct iovec rest = h->msg_iov[i], piece;

		one.msg_iov = &piece;
		for (; rest.iov_len > 0; rest.iov_len -= piece.iov_len) {
			piece = rest;
			if (piece.iov_len > segment)
				piece.iov_len = segment;
			if (sendmsg(fd, &one, MSG_DONTWAIT) < 0) {
				*error = errno;
				refused++;
			}
			rest.iov_base =
			    (uint8_t *)rest.iov_base + piece.iov_len;
		}
	}
	return refused;
}

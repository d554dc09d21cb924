#include "net/udpstat.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_LEN 16384

/* The number of the word's column in a line of names, -1: not there. */
static int
column_of(const char *line, const char *word)
{
	const char *end = strchr(line, '\n');
	size_t len = strlen(word);
	int column = 0;

	for (const char *p = line; end != NULL && p < end; column++) {
		if (strncmp(p, word, len) == 0 &&
		    (p[len] == ' ' || p[len] == '\n'))
			return column;
		p += strcspn(p, " \n");
		p += *p == ' ';
	}
	return -1;
}

static uint64_t
column_value(const char *line, int column)
{
	while (column-- > 0) {
		line += strcspn(line, " \n");
		if (*line != ' ')
			return 0;
		line++;
	}
	return strtoull(line, NULL, 10);
}

/* snmp: a line of names, then one of numbers, both beginning `Udp: `. */
static uint64_t
parse_table(const char *text)
{
	const char *names = strstr(text, "\nUdp: ");
	const char *values =
	    names != NULL ? strstr(names + 1, "\nUdp: ") : NULL;
	int column;

	if (values == NULL)
		return 0;
	column = column_of(names + 1, "RcvbufErrors");
	return column > 0 ? column_value(values + 1, column) : 0;
}

/* snmp6: a name and a number a line. */
static uint64_t
parse_list(const char *text)
{
	const char *at = strstr(text, "\nUdp6RcvbufErrors");

	if (at == NULL)
		return 0;
	at += strcspn(at, " \t");
	return strtoull(at, NULL, 10);
}

uint64_t
udpstat_parse(const char *text)
{
	return parse_table(text) + parse_list(text);
}

static uint64_t
read_one(int fd)
{
	char text[TEXT_LEN];
	size_t len = 1;
	ssize_t n;

	if (fd < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return 0;
	text[0] = '\n'; /* every line then has one before it */
	while (len < sizeof text - 1 &&
	    (n = read(fd, text + len, sizeof text - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	return udpstat_parse(text);
}

void
udpstat_open(struct udpstat *u)
{
	u->at_start = 0;
	u->fd4 = open("/proc/net/snmp", O_RDONLY | O_CLOEXEC);
	u->fd6 = open("/proc/net/snmp6", O_RDONLY | O_CLOEXEC);
	u->at_start = udpstat_queue_full(u);
}

void
udpstat_close(struct udpstat *u)
{
	if (u->fd4 >= 0)
		close(u->fd4);
	if (u->fd6 >= 0)
		close(u->fd6);
	u->fd4 = u->fd6 = -1;
}

uint64_t
udpstat_queue_full(const struct udpstat *u)
{
	uint64_t now = read_one(u->fd4) + read_one(u->fd6);

	return now > u->at_start ? now - u->at_start : 0;
}

/* `portshare matrix`: its options, and where the table goes. */
#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "base/log.h"
#include "portshare/command.h"
#include "portshare/matrix.h"

struct options {
	void (*show)(const struct matrix *m, FILE *to);
	const char *output; /* NULL: standard output */
	bool help;
};

static int
parse(struct options *o, int argc, char **argv)
{
	static const struct option words[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "markdown", no_argument, NULL, 'm' },
		{ "html", no_argument, NULL, 'w' },
		{ "output", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	o->show = matrix_text;
	while ((c = getopt_long(argc, argv, "o:h", words, NULL)) != -1) {
		if (c == 'j')
			o->show = matrix_json;
		else if (c == 'm')
			o->show = matrix_markdown;
		else if (c == 'w')
			o->show = matrix_page;
		else if (c == 'o')
			o->output = optarg;
		else if (c == 'h')
			o->help = true;
		else
			return command_usage("matrix: see above", "");
	}
	if (optind < argc)
		return command_usage("matrix takes no ", argv[optind]);
	return COMMAND_GOOD;
}

/* Before all the work: a name that cannot be written to is told at once. */
static FILE *
open_output(const struct options *o)
{
	FILE *to = o->output == NULL ? stdout : fopen(o->output, "we");

	if (to == NULL)
		log_error("%s: %s", o->output, strerror(errno));
	return to;
}

/* What was written is part of the result. */
static int
close_output(const struct options *o, FILE *to)
{
	bool good = !ferror(to);

	if (o->output != NULL && fclose(to) != 0)
		good = false;
	if (!good)
		log_error("%s: %s",
		    o->output != NULL ? o->output : "standard output",
		    strerror(errno));
	return good ? COMMAND_GOOD : COMMAND_FAILED;
}

static int
run(const struct options *o, FILE *to)
{
	struct matrix m;
	int status = COMMAND_GOOD;

	if (matrix_run(&m) < 0) {
		log_error("the matrix could not be run: %s", strerror(errno));
		status = COMMAND_FAILED;
	} else {
		o->show(&m, to);
		if (m.differ > 0 && o->show != matrix_text)
			matrix_differences(&m, 10, stderr);
	}
	if (status == COMMAND_GOOD && m.differ > 0) {
		log_error("%zu cells differ from the model", m.differ);
		status = COMMAND_NO;
	}
	matrix_free(&m);
	return status;
}

int
matrix_command(int argc, char **argv)
{
	struct options o = { 0 };
	int status = parse(&o, argc, argv), written;
	FILE *to;

	if (status != COMMAND_GOOD)
		return status;
	if (o.help) {
		command_help();
		return COMMAND_GOOD;
	}
	to = open_output(&o);
	if (to == NULL)
		return COMMAND_FAILED;
	status = run(&o, to);
	written = close_output(&o, to);
	return written == COMMAND_GOOD ? status : written;
}

/* The commands of portshare(8): each takes its own words, returns the status. */
#ifndef PORTSHARE_COMMAND_H
#define PORTSHARE_COMMAND_H

enum command_status {
	COMMAND_GOOD = 0, /* will bind, holds, as told */
	COMMAND_FAILED = 1, /* usage, or it could not be found out */
	COMMAND_NO = 2, /* will not bind, differs, not as told */
};

int matrix_command(int argc, char **argv);
int predict_command(int argc, char **argv);
int repair_command(int argc, char **argv);
int story_command(int argc, char **argv);
int watch_command(int argc, char **argv);
int who_command(int argc, char **argv);

/* "portshare: WHY WHAT" and the usage on stderr; COMMAND_FAILED. */
int command_usage(const char *why, const char *what);
void command_help(void); /* on stdout */

#endif

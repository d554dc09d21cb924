#include "roughtime/client/command.h"
int
probe_command(int argc, char **argv)
{
	(void)argc;
	return command_usage(argv[0], "not yet");
}

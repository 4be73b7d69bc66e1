/* pyentry --healthcheck: whether a server is well, without an interpreter. */
#ifndef PYE_HEALTH_H
#define PYE_HEALTH_H

/* Takes the command line with the command's own word gone. Returns the exit status: 0 healthy, 1 all else; never 2,
 * which Docker keeps for itself. Says why on stderr, in one line. */
int pye_healthcheck(int argc, char **argv);

#endif

#pragma once

/* Kills and reaps every process below this one, which must be a child subreaper, or init of a PID namespace, and must block
 * SIGCHLD. Returns how many had to be killed, or -1 if some are still there after a few seconds. */
int kill_survivors(int is_init);

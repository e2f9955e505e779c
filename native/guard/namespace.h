#pragma once

/* Gives the calling process new namespaces of `kinds`, CLONE_NEW..., within a user namespace where that is what it
 * takes; its identity stays. 0, or -1 with errno. */
int leave_namespaces(int kinds);

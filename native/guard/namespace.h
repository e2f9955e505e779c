#pragma once

/* Gives the calling process new namespaces of `kinds`, CLONE_NEW..., within a user namespace where that is what it
 * takes; its identity stays. 0, or -1 with errno. */
int leave_namespaces(int kinds);

/* Goes on as PID 1 of new PID and mount namespaces with their own /proc; an ordinary user gets a user namespace as
 * well, with the same uid and gid in it. The calling process itself stays behind, waits and leaves. 0 in the new
 * init, -1 with errno in the old process when the kernel does not allow it. */
int enter_namespace(void);

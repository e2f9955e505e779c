#pragma once
/* The program sees and sets its own actions for crash signals; ours stand in front of them. */

/* Stands in front of every crash signal. */
void stand_in_front(void);

/* Gives the program's own actions back: for a child, of which nobody wants to know how it ends. */
void step_aside(void);

/* Under the kernel's strict mode no handler of ours could die of what another process sent: that signal is the kernel's. */
void leave_to_kernel(int signal_number);

/* rt_sigaction as a system call, with its words. Whether it was answered here: what the program sets and sees so is the same
 * as by sigaction(). */
int set_by_call(const long words[6], long *result);

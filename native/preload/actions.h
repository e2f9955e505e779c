#pragma once
/* The program sees and sets its own actions for crash signals; ours stand in front of them. */

/* Stands in front of every crash signal. */
void stand_in_front(void);

/* Gives the program's own actions back, for a child whose end nobody asks for. */
void step_aside(void);

/* Under the kernel's strict mode no handler of ours could die of what another process sent: that signal is the kernel's. */
void leave_to_kernel(int signal_number);

/* Answers rt_sigaction made as a plain system call, so that the program sets and sees the same as by sigaction(). Returns
 * whether it was answered here. */
int set_by_call(const long words[6], long *result);

#pragma once

/* The next program will not carry the library, for this reason. */
void leave_box_behind(const char *why);

/* Takes that back: the exec failed, and this program stays. */
void stay_with_box(void);

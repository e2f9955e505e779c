#pragma once

/* The next program will not carry the library, for this reason. */
void leave_box_behind(const char *why);

/* Unless it could not be executed. */
void stay_with_box(void);

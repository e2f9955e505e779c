#pragma once
/* What the process that executed the program has told the library. */
#include "box/handover.h"

/* Takes our variables out of the environment, in place and without a trace. 0, or -1 where they are not there. */
int take_variables(char **arguments, char **environment);

/* What they said, and what is to be said to the next program. */
struct handover *handed_over(void);

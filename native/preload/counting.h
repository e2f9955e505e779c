#pragma once

/* Whether refused allocations are counted in this process. */
int counts_allocations(void);

#pragma once
/* The victim's side of the box. */
#include <stdint.h>

#include "faults.h"

#define BOX_MAGIC 0x58424843u /* "CHBX" */

/* The mapped box, or NULL in a process that is no victim. */
struct box *armed_box(void);

/* For a fork of an armed process: the box becomes its own, handlers and signal stack are inherited. */
void rearm(void);

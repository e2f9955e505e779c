#pragma once
#include "guard/order.h"

/* Executes the command, with the library where one is ordered and can be carried; where not, the box says why. Returns only
 * where that fails, with errno. */
void carry_and_execute(const struct order *order);

#include <stdint.h>
#include "faults/faults.h"
#include "box/page.h"

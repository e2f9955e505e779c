#include <stdint.h>
#include "faults/faults.h"

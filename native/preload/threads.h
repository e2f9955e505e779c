#pragma once
/* Has what the victim forks be as it would be without us. */
void follow_forks(void);

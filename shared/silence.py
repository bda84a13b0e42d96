"""How long a part may be silent before what is done about it. Parts say that they live every two seconds."""

NO_MORE_JOBS_S = 15.0  # a worker gets none: one handed to the dead waits until somebody misses it
NOT_THERE_S = 30.0  # a part is not counted any more, and `chai up` starts it anew: as long as the lease of its job
MISSED_S = 60.0  # its absence is a fault that people are told of: a restart must not wake anybody

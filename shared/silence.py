"""How long a part may be silent before something is done. Parts write a heartbeat every two seconds."""

NO_MORE_JOBS_S = 15.0  # then a worker gets none: a job handed to a dead one waits until it is missed
NOT_THERE_S = 30.0  # then a part no longer counts, and `chai up` restarts it: as long as its job's lease
MISSED_S = 60.0  # then its absence is reported as a fault: a mere restart must not alert anybody

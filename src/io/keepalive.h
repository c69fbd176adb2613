#ifndef BFM_IO_KEEPALIVE_H
#define BFM_IO_KEEPALIVE_H

/*
 * How a TCP connection finds out that its peer is gone without a word: behind a firewall that
 * forgot it, or with a machine that lost its power.
 */
struct keepalive {
    unsigned idle_s;          /* silence before the first probe; 0: no probes */
    unsigned interval_s;      /* between probes; 0: the system's */
    unsigned count;           /* unanswered probes until it is given up; 0: the system's */
    unsigned user_timeout_ms; /* unacknowledged bytes, or a window that stays shut, for so long end
                                 it (TCP_USER_TIMEOUT); 0: the system's */
};

/* Sets it on a socket; on a listening one for all that it accepts. 0, or ERR_IO. */
int keepalive_set(int fd, const struct keepalive *keepalive);

#endif

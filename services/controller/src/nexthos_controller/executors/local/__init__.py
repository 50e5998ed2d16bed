"""What executors of this machine share: sessions of processes that outlive the controller.

Comes in: argv, environment, folders. Goes out: sessions that run, their ends, what they left behind. Must
not know what runs in them, nor the executors that use it.

    processes   /proc: identity, sessions, liveness that survives the reuse of a PID
    shim        a session's shell, which notes how its child ended; spawning it, and reading that note
    deaths      pidfds: the end of a session, within milliseconds
    ending      SIGTERM, the grace, SIGKILL
    folders     what is stored of something: the folder comes, changes and goes in one step
    belongings  what of a folder is the user's that engines run as
    logfile     reading it backwards, following it, keeping it small
    binaries    the engine that a name stands for, and how one is told from another
    unread      the lines of a log that nobody has read yet
    place       the name of this machine
"""

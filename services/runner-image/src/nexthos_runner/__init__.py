"""The entrypoint inside an execution: it fetches a configuration and becomes the engine.

    settings      what it was told, by its environment
    folder        the execution's folder: kept bytes, credentials that are dropped
    files         files that a pipeline may have put there
    wire          one connection to NATS, blocking, and what is asked over it
    credentials   what NATS is shown: credentials files, users in URLs, certificates
    fetch         the configuration's bytes, from the controller, as long as it may be away
    launch        argv and environment of the engine, and the step into it
    job           the parent of an engine whose end counts
    asked         signals before there is an engine
    log           lines in the engine's shape
    main          the order of all that, and exit codes

Start-up time is every pipeline's, so nothing in here imports asyncio, nats-py or pydantic.
"""

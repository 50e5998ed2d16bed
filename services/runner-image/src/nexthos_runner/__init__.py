"""The entrypoint inside an execution: it fetches a configuration and becomes the engine."""

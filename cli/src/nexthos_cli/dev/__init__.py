"""`nexthos dev`: a NATS server, a controller and a folder that is watched, in one process.

server     the embedded nats-server
brought    which pipelines this folder brought, so that only those are ever removed
tally      messages in and out, from the engines' own metrics; messages by subject
screen     what is shown: a live table on a terminal, lines elsewhere
session    all of it together, from start to end
"""
